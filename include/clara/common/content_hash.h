// 128-bit fingerprints (XXH3) of bytes and files: keys of stored latents, identity of inputs. Not
// for security.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace clara {

/// A 128-bit hash; the same on every platform.
struct Hash128 {
  std::uint64_t lo = 0;
  std::uint64_t hi = 0;

  /// 32 lower-case hexadecimal digits, `hi` first (as `xxhsum -H2` prints it).
  std::string hex() const;
  friend auto operator<=>(const Hash128&, const Hash128&) = default;
};

/// XXH3-128 of `bytes`.
Hash128 hash_bytes(std::string_view bytes, std::uint64_t seed = 0);

/// XXH3-128 of a file's content, read in pieces. Throws DataError with path and reason.
Hash128 hash_file(const std::filesystem::path& path);

/// A hash of several pieces. update() is plain concatenation: "ab" + "c" equals "a" + "bc". The
/// add_ functions keep pieces apart (each writes its length or its fixed width), for keys made of
/// several fields.
class ContentHasher {
 public:
  explicit ContentHasher(std::uint64_t seed = 0);
  ContentHasher(ContentHasher&&) noexcept;
  ContentHasher& operator=(ContentHasher&&) noexcept;
  ~ContentHasher();

  /// Appends raw bytes.
  ContentHasher& update(const void* data, std::size_t num_bytes);
  ContentHasher& update(std::string_view bytes) { return update(bytes.data(), bytes.size()); }
  /// Appends the length and then the bytes.
  ContentHasher& add_field(std::string_view bytes);
  /// Appends eight bytes, little-endian.
  ContentHasher& add_number(std::uint64_t number);
  /// Appends another hash (16 bytes).
  ContentHasher& add_hash(const Hash128& hash);

  /// Hash of all that was appended so far; more may follow.
  Hash128 digest() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clara

template <>
struct std::hash<clara::Hash128> {
  std::size_t operator()(const clara::Hash128& key) const noexcept {
    return static_cast<std::size_t>(key.lo ^ key.hi);
  }
};
