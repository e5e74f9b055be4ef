// XXH3-128 through libxxhash, one-shot and streaming.
#include "clara/common/content_hash.h"

#include <array>
#include <cerrno>
#include <cstdio>
#include <new>
#include <system_error>
#include <vector>

#include <xxhash.h>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kPieceBytes = std::size_t{1} << 20;

Hash128 to_hash(const XXH128_hash_t& hash) { return {hash.low64, hash.high64}; }

std::array<unsigned char, 8> little_endian(std::uint64_t number) {
  std::array<unsigned char, 8> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(number >> (8 * i));
  }
  return bytes;
}

}  // namespace

std::string Hash128::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  text.reserve(32);
  for (const std::uint64_t half : {hi, lo}) {
    for (int shift = 60; shift >= 0; shift -= 4) text.push_back(kDigits[(half >> shift) & 0xF]);
  }
  return text;
}

Hash128 hash_bytes(std::string_view bytes, std::uint64_t seed) {
  return to_hash(XXH3_128bits_withSeed(bytes.data(), bytes.size(), seed));
}

Hash128 hash_file(const std::filesystem::path& path) {
  const auto fail = [&path](int error_number) {
    return DataError(path.string() +
                     ": cannot read: " + std::generic_category().message(error_number));
  };
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             &std::fclose);
  if (!file) throw fail(errno);
  ContentHasher hasher;
  std::vector<char> piece(kPieceBytes);
  while (true) {
    errno = 0;
    const std::size_t num_bytes = std::fread(piece.data(), 1, piece.size(), file.get());
    hasher.update(piece.data(), num_bytes);
    if (num_bytes < piece.size()) {
      if (std::ferror(file.get()) != 0) throw fail(errno);
      return hasher.digest();
    }
  }
}

struct ContentHasher::State {
  std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> value{XXH3_createState(),
                                                                        &XXH3_freeState};
};

ContentHasher::ContentHasher(std::uint64_t seed) : state_(std::make_unique<State>()) {
  if (!state_->value) throw std::bad_alloc();
  XXH3_128bits_reset_withSeed(state_->value.get(), seed);
}

ContentHasher::ContentHasher(ContentHasher&&) noexcept = default;
ContentHasher& ContentHasher::operator=(ContentHasher&&) noexcept = default;
ContentHasher::~ContentHasher() = default;

ContentHasher& ContentHasher::update(const void* data, std::size_t num_bytes) {
  if (num_bytes > 0) XXH3_128bits_update(state_->value.get(), data, num_bytes);
  return *this;
}

ContentHasher& ContentHasher::add_field(std::string_view bytes) {
  return add_number(bytes.size()).update(bytes);
}

ContentHasher& ContentHasher::add_number(std::uint64_t number) {
  const auto bytes = little_endian(number);
  return update(bytes.data(), bytes.size());
}

ContentHasher& ContentHasher::add_hash(const Hash128& hash) {
  return add_number(hash.lo).add_number(hash.hi);
}

Hash128 ContentHasher::digest() const { return to_hash(XXH3_128bits_digest(state_->value.get())); }

}  // namespace clara
