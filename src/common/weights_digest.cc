// Hashes of headers at every start, of contents once a file.
#include "clara/common/weights_digest.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <vector>

#include <sys/stat.h>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

// A file up to this size is read faster than its cached hash is worth.
constexpr std::uintmax_t kSmallFileBytes = std::uintmax_t{32} << 20;
// A longer header is damage, which loading tells better.
constexpr std::uint64_t kMaxHeaderBytes = std::uint64_t{100} << 20;
constexpr std::size_t kHexDigits = 32;

std::vector<fs::path> weight_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == ".safetensors") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The length field and the header that it announces.
std::string header_bytes(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes(8, '\0');
  if (!in.read(bytes.data(), 8)) throw DataError(path.string() + ": expected a safetensors header");
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(bytes[i]);
  bytes.resize(8 + static_cast<std::size_t>(std::min(length, kMaxHeaderBytes)));
  in.read(bytes.data() + 8, static_cast<std::streamsize>(bytes.size() - 8));
  bytes.resize(8 + static_cast<std::size_t>(in.gcount()));
  return bytes;
}

/// What changes when a file is written again, moved or replaced.
std::optional<std::string> file_identity(const fs::path& path) {
  struct stat status {};
  std::error_code error;
  const fs::path whole = fs::canonical(path, error);
  if (error || ::stat(whole.c_str(), &status) != 0) return std::nullopt;
  ContentHasher hasher;
  hasher.add_field(whole.string());
  for (const auto number :
       {static_cast<std::uint64_t>(status.st_size),
        static_cast<std::uint64_t>(status.st_mtim.tv_sec),
        static_cast<std::uint64_t>(status.st_mtim.tv_nsec),
        static_cast<std::uint64_t>(status.st_ctim.tv_sec),
        static_cast<std::uint64_t>(status.st_ctim.tv_nsec),
        static_cast<std::uint64_t>(status.st_ino), static_cast<std::uint64_t>(status.st_dev)}) {
    hasher.add_number(number);
  }
  return hasher.digest().hex();
}

/// The hash of a file's content; empty where it would have to be computed and could not be kept.
std::string content_of(const fs::path& path, const fs::path& cache) {
  if (fs::file_size(path) <= kSmallFileBytes) return hash_file(path).hex();
  const auto identity = file_identity(path);
  if (cache.empty() || !identity) return {};
  const fs::path kept = cache / "weights" / *identity;
  std::error_code error;
  if (fs::exists(kept, error)) {
    std::string hex = read_file(kept);
    if (hex.size() == kHexDigits) return hex;
  }
  try {
    // First whether the hash can be kept, then the long work.
    fs::create_directories(kept.parent_path());
    write_file_atomically(kept, "");
    std::string hex = hash_file(path).hex();
    write_file_atomically(kept, hex);
    return hex;
  } catch (const DataError&) {
    throw;
  } catch (const std::exception&) {
    return {};
  }
}

}  // namespace

WeightsDigest digest_weights(const fs::path& folder, const fs::path& cache) {
  ContentHasher layout, content;
  for (const char* name : {"config.json", "tokenizer.json"}) {
    layout.add_field(fs::exists(folder / name) ? read_file(folder / name) : std::string());
  }
  bool is_complete = true;
  for (const fs::path& path : weight_files(folder)) {
    layout.add_field(path.filename().string());
    layout.add_number(fs::file_size(path));
    layout.add_field(header_bytes(path));
    const std::string hex = content_of(path, cache);
    is_complete = is_complete && !hex.empty();
    content.add_field(hex);
  }
  return {layout.digest().hex(), is_complete ? content.digest().hex() : std::string()};
}

fs::path user_cache_folder() {
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache != nullptr && *cache != '\0')
    return fs::path(cache) / "clara";
  if (const char* home = std::getenv("HOME"); home != nullptr && *home != '\0')
    return fs::path(home) / ".cache" / "clara";
  return {};
}

}  // namespace clara
