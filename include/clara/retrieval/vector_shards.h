// Vectors of a corpus on disk: files of a fixed number of rows, each whole or absent, mapped when
// read. What a killed run has finished stays.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"
#include "clara/common/safetensors_file.h"

namespace clara {

/// What the shards of a folder hold. Every file repeats it, so that none can be taken for another
/// corpus' or encoder's.
struct VectorSource {
  Hash128 corpus;   ///< the passages and their order
  Hash128 encoder;  ///< VectorEncoder::fingerprint
  std::int64_t dimension = 0;
  std::int64_t shard_rows = 0;  ///< of every shard but the last
  /// kF32, kF16, kBF16, or kI8: whole numbers of -127 to 127, of which every 64 in a row of a
  /// vector share a bfloat16 scale, their largest magnitude / 127.
  TensorDtype dtype = TensorDtype::kF16;

  bool operator==(const VectorSource&) const = default;
};

/// The name of shard `number`'s file: vectors_000007.safetensors.
std::string vector_shard_name(std::int64_t number);

/// The numbers of the shards in `folder`, ascending; there may be gaps.
std::vector<std::int64_t> list_vector_shards(const std::filesystem::path& folder);

/// Whether `folder` has shard `number`, whole. Throws DataError where it is there with another
/// source (what to do then is said) or damaged.
bool has_vector_shard(const std::filesystem::path& folder, std::int64_t number,
                      const VectorSource& source);

/// Writes shard `number`, whole or not at all. vectors [n, D] float32, n at least 1 and at most
/// shard_rows. Throws Error for a disk that fails.
void write_vector_shard(const std::filesystem::path& folder, std::int64_t number,
                        const VectorSource& source, const torch::Tensor& vectors_nD);

/// The shards 0, 1, … of a folder, mapped. Rows are numbered through.
class VectorShards {
 public:
  /// Throws DataError that names the file: none there, a gap, another source, damage, a shard that
  /// is not full before the last.
  explicit VectorShards(std::filesystem::path folder);

  const VectorSource& source() const { return source_; }
  std::int64_t num_vectors() const { return num_vectors_; }
  std::int64_t num_shards() const { return static_cast<std::int64_t>(files_.size()); }
  std::int64_t dimension() const { return source_.dimension; }
  const std::filesystem::path& path(std::int64_t shard) const {
    return files_[static_cast<std::size_t>(shard)].path();
  }

  /// Bytes that a vector takes.
  std::int64_t vector_bytes() const;
  /// [n, D] float32: rows first … first + n − 1, copied.
  torch::Tensor rows(std::int64_t first, std::int64_t n) const;
  /// Σ query · row, summed in a fixed order. query: D floats.
  float inner_product(const float* query, std::int64_t row) const;

 private:
  std::vector<SafetensorsFile> files_;
  VectorSource source_;
  std::int64_t num_vectors_ = 0;
};

}  // namespace clara
