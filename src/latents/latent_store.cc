// Memory and disk stores of latents.
#include "clara/latents/latent_store.h"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <torch/torch.h>
#include <unistd.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

constexpr std::array<char, 8> kMagic = {'C', 'L', 'A', 'R', 'A', 'L', 'A', '1'};

/// First bytes of a store file.
struct FileHeader {
  std::array<char, 8> magic = kMagic;
  Hash128 fingerprint;
  std::int64_t num_memory = 0;
  std::int64_t width = 0;
  std::int64_t element_bytes = 0;
};

/// Before each document's latents.
struct RecordHeader {
  Hash128 key;
  Hash128 checksum;  ///< of the latents' bytes, seeded with the key
};

Hash128 record_checksum(const Hash128& key, const void* data, std::size_t num_bytes) {
  return hash_bytes({static_cast<const char*>(data), num_bytes}, key.lo);
}

std::string reason() { return std::strerror(errno); }

/// All bytes or an error; false at the end of the file.
bool read_exactly(int file, void* data, std::size_t num_bytes, std::int64_t offset,
                  const std::filesystem::path& path) {
  auto* out = static_cast<char*>(data);
  while (num_bytes > 0) {
    const ssize_t got = ::pread(file, out, num_bytes, offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw DataError(path.string() + ": cannot be read: " + reason());
    if (got == 0) return false;
    out += got;
    offset += got;
    num_bytes -= static_cast<std::size_t>(got);
  }
  return true;
}

void write_exactly(int file, const void* data, std::size_t num_bytes, std::int64_t offset,
                   const std::filesystem::path& path) {
  const auto* in = static_cast<const char*>(data);
  while (num_bytes > 0) {
    const ssize_t put = ::pwrite(file, in, num_bytes, offset);
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      throw DataError(path.string() + ": latents cannot be stored: " + reason() +
                      " (free space, or set objective.latent_cache to memory)");
    }
    in += put;
    offset += put;
    num_bytes -= static_cast<std::size_t>(put);
  }
}

}  // namespace

std::optional<torch::Tensor> MemoryLatentStore::find(const Hash128& key) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto it = latents_.find(key);
  if (it == latents_.end()) return std::nullopt;
  return it->second;
}

void MemoryLatentStore::put(const Hash128& key, const torch::Tensor& latents_MD) {
  torch::Tensor copy =
      latents_MD.detach().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true).contiguous();
  const std::lock_guard<std::mutex> lock(mutex_);
  latents_.try_emplace(key, std::move(copy));
}

std::int64_t MemoryLatentStore::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<std::int64_t>(latents_.size());
}

DiskLatentStore::DiskLatentStore(const std::filesystem::path& folder, const Hash128& fingerprint,
                                 std::vector<std::int64_t> shape_MD, torch::Dtype dtype,
                                 std::int64_t rank)
    : path_(folder / ("latents_" + fingerprint.hex() + "_" + std::to_string(rank) + ".bin")),
      shape_(std::move(shape_MD)),
      dtype_(dtype) {
  latent_bytes_ = static_cast<std::size_t>(shape_[0] * shape_[1]) * c10::elementSize(dtype);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  file_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0)
    throw DataError(path_.string() + ": the latent store cannot be opened: " + reason());
  if (::flock(file_, LOCK_EX | LOCK_NB) != 0) {
    ::close(file_);
    throw DataError(path_.string() +
                    ": another process writes to this latent store; give each run its own " +
                    "objective.latent_cache_folder, or wait for the other run");
  }
  try {
    open_and_index(fingerprint);
  } catch (...) {
    ::close(file_);
    throw;
  }
}

DiskLatentStore::~DiskLatentStore() { ::close(file_); }

void DiskLatentStore::open_and_index(const Hash128& fingerprint) {
  FileHeader wanted;
  wanted.fingerprint = fingerprint;
  wanted.num_memory = shape_[0];
  wanted.width = shape_[1];
  wanted.element_bytes = static_cast<std::int64_t>(c10::elementSize(dtype_));
  struct stat status {};
  if (::fstat(file_, &status) != 0) throw DataError(path_.string() + ": " + reason());
  end_ = static_cast<std::int64_t>(sizeof(FileHeader));
  FileHeader found;
  if (status.st_size < end_ || !read_exactly(file_, &found, sizeof found, 0, path_)) {
    // New, or killed before its header was whole.
    if (::ftruncate(file_, 0) != 0) throw DataError(path_.string() + ": " + reason());
    write_exactly(file_, &wanted, sizeof wanted, 0, path_);
    return;
  }
  if (found.magic != wanted.magic || found.fingerprint != wanted.fingerprint ||
      found.num_memory != wanted.num_memory || found.width != wanted.width ||
      found.element_bytes != wanted.element_bytes) {
    throw DataError(path_.string() + ": is not a latent store of this compressor; delete the file");
  }
  const auto record_bytes = static_cast<std::int64_t>(sizeof(RecordHeader) + latent_bytes_);
  RecordHeader record;
  while (end_ + record_bytes <= status.st_size &&
         read_exactly(file_, &record, sizeof record, end_, path_)) {
    offsets_.insert_or_assign(record.key, end_);  // a later record replaces a damaged one
    end_ += record_bytes;
  }
  if (end_ != status.st_size && ::ftruncate(file_, end_) != 0)
    throw DataError(path_.string() + ": " + reason());
}

std::optional<torch::Tensor> DiskLatentStore::read(const Hash128& key, std::int64_t offset) const {
  RecordHeader record;
  torch::Tensor latents = torch::empty(shape_, dtype_);
  if (!read_exactly(file_, &record, sizeof record, offset, path_) ||
      !read_exactly(file_, latents.mutable_data_ptr(), latent_bytes_,
                    offset + static_cast<std::int64_t>(sizeof record), path_) ||
      record.checksum != record_checksum(key, latents.const_data_ptr(), latent_bytes_)) {
    return std::nullopt;
  }
  return latents;
}

std::optional<torch::Tensor> DiskLatentStore::find(const Hash128& key) const {
  std::int64_t offset = 0;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    const auto it = offsets_.find(key);
    if (it == offsets_.end()) return std::nullopt;
    offset = it->second;
  }
  return read(key,
              offset);  // damaged: as if it were not there, so that the document is encoded again
}

void DiskLatentStore::put(const Hash128& key, const torch::Tensor& latents_MD) {
  const torch::Tensor latents = latents_MD.detach().to(torch::kCPU, dtype_).contiguous();
  if (latents.sizes() != torch::IntArrayRef(shape_))
    throw Error("latents of another shape than the store's");
  const RecordHeader record{key, record_checksum(key, latents.const_data_ptr(), latent_bytes_)};
  const std::lock_guard<std::mutex> lock(mutex_);
  if (const auto it = offsets_.find(key); it != offsets_.end()) {
    const std::optional<torch::Tensor> stored = read(key, it->second);
    if (stored &&
        std::memcmp(stored->const_data_ptr(), latents.const_data_ptr(), latent_bytes_) == 0)
      return;
  }
  write_exactly(file_, &record, sizeof record, end_, path_);
  write_exactly(file_, latents.const_data_ptr(), latent_bytes_,
                end_ + static_cast<std::int64_t>(sizeof record), path_);
  offsets_.insert_or_assign(key, end_);
  end_ += static_cast<std::int64_t>(sizeof record + latent_bytes_);
}

std::int64_t DiskLatentStore::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return static_cast<std::int64_t>(offsets_.size());
}

}  // namespace clara
