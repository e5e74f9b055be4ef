// Shards are safetensors files, so that other programs can read them: one tensor "vectors".
#include "clara/retrieval/vector_shards.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>
#include <utility>

#include "common/cpu_math.h"
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTensorName = "vectors";
constexpr const char* kFormat = "clara vectors 1";

std::map<std::string, std::string> to_metadata(const VectorSource& source) {
  return {{"format", kFormat},
          {"corpus", source.corpus.hex()},
          {"encoder", source.encoder.hex()},
          {"shard_rows", std::to_string(source.shard_rows)}};
}

Hash128 parse_hash(const SafetensorsFile& file, const std::string& key) {
  const auto it = file.metadata().find(key);
  Hash128 hash;
  const std::string text = it == file.metadata().end() ? "" : it->second;
  const auto read = [&](std::size_t at, std::uint64_t& value) {
    const auto [end, fault] = std::from_chars(text.data() + at, text.data() + at + 16, value, 16);
    return fault == std::errc() && end == text.data() + at + 16;
  };
  if (text.size() != 32 || !read(0, hash.hi) || !read(16, hash.lo)) {
    throw DataError(file.path().string() + ": expected the metadata of a shard of vectors (" + key +
                    "), found none; it is no file of clara-data index dense");
  }
  return hash;
}

VectorSource source_of(const SafetensorsFile& file) {
  VectorSource source;
  source.corpus = parse_hash(file, "corpus");
  source.encoder = parse_hash(file, "encoder");
  const auto format = file.metadata().find("format");
  if (format == file.metadata().end() || format->second != kFormat) {
    throw DataError(file.path().string() + ": expected the format \"" + kFormat + "\", found " +
                    (format == file.metadata().end() ? "none" : "\"" + format->second + "\"") +
                    "; a newer release may have written it");
  }
  const auto rows = file.metadata().find("shard_rows");
  const std::string text = rows == file.metadata().end() ? "" : rows->second;
  std::from_chars(text.data(), text.data() + text.size(), source.shard_rows);
  const TensorEntry& entry = file.at(kTensorName);
  const bool has_shape = entry.shape.size() == 2 && entry.shape[0] > 0 && entry.shape[1] > 0 &&
                         entry.shape[0] <= source.shard_rows;
  if (!has_shape || (entry.dtype != TensorDtype::kF16 && entry.dtype != TensorDtype::kF32)) {
    throw DataError(file.path().string() + ": tensor vectors: expected F16 or F32 [rows up to " +
                    std::to_string(source.shard_rows) + ", dimension], found " +
                    std::string(dtype_name(entry.dtype)) + " " + shape_string(entry.shape));
  }
  source.dimension = entry.shape[1];
  source.dtype = entry.dtype;
  return source;
}

[[noreturn]] void throw_other_source(const fs::path& path, const VectorSource& found,
                                     const VectorSource& expected) {
  const char* what = found.corpus != expected.corpus ? "another corpus"
                     : found.encoder != expected.encoder
                         ? "another encoder, or other settings of it"
                         : "other settings (dtype, shard size)";
  throw DataError(path.string() + ": expected vectors of this corpus and encoder, found those of " +
                  what + "; give another output folder, or --force to begin anew");
}

template <typename T>
CLARA_INLINE float product(const float* query, const T* row, std::int64_t size) {
  return cpu::lane_sum(size, [&](std::int64_t i) { return query[i] * static_cast<float>(row[i]); });
}

}  // namespace

std::string vector_shard_name(std::int64_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 6 ? 6 - digits.size() : 0, '0');
  return "vectors_" + digits + ".safetensors";
}

bool has_vector_shard(const fs::path& folder, std::int64_t number, const VectorSource& source) {
  const fs::path path = folder / vector_shard_name(number);
  if (!fs::exists(path)) return false;
  const VectorSource found = source_of(SafetensorsFile(path));
  if (found != source) throw_other_source(path, found, source);
  return true;
}

void write_vector_shard(const fs::path& folder, std::int64_t number, const VectorSource& source,
                        const torch::Tensor& vectors_nD) {
  if (vectors_nD.dim() != 2 || vectors_nD.size(1) != source.dimension || vectors_nD.size(0) < 1 ||
      vectors_nD.size(0) > source.shard_rows) {
    throw Error("a shard of vectors of another shape than its source says");
  }
  save_tensors(folder / vector_shard_name(number),
               {{kTensorName, vectors_nD.to(to_torch_dtype(source.dtype))}}, to_metadata(source));
}

VectorShards::VectorShards(fs::path folder) {
  while (fs::exists(folder / vector_shard_name(num_shards()))) {
    files_.emplace_back(folder / vector_shard_name(num_shards()));
    const SafetensorsFile& file = files_.back();
    const VectorSource source = source_of(file);
    if (files_.size() == 1) source_ = source;
    if (source != source_) throw_other_source(file.path(), source, source_);
    if (num_vectors_ % source_.shard_rows != 0) {
      throw DataError(files_[files_.size() - 2].path().string() + ": expected " +
                      std::to_string(source_.shard_rows) +
                      " vectors before the last shard, found " +
                      std::to_string(num_vectors_ % source_.shard_rows));
    }
    num_vectors_ += file.at(kTensorName).shape[0];
  }
  if (files_.empty()) {
    throw DataError((folder / vector_shard_name(0)).string() + ": not found: no vectors are there");
  }
}

torch::Tensor VectorShards::rows(std::int64_t first, std::int64_t n) const {
  torch::Tensor out = torch::empty({n, dimension()});
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t shard = (first + done) / source_.shard_rows;
    const std::int64_t within = (first + done) % source_.shard_rows;
    const SafetensorsFile& file = files_.at(static_cast<std::size_t>(shard));
    const TensorEntry& entry = file.at(kTensorName);
    const std::int64_t count = std::min(n - done, entry.shape[0] - within);
    out.narrow(0, done, count).copy_(map_tensor(entry, file.mapping()).narrow(0, within, count));
    done += count;
  }
  return out;
}

float VectorShards::inner_product(const float* query, std::int64_t row) const {
  const SafetensorsFile& file = files_.at(static_cast<std::size_t>(row / source_.shard_rows));
  const TensorEntry& entry = file.at(kTensorName);
  const std::int64_t at = row % source_.shard_rows * dimension();
  if (entry.dtype == TensorDtype::kF32) {
    return product(query, reinterpret_cast<const float*>(entry.data) + at, dimension());
  }
  return product(query, reinterpret_cast<const at::Half*>(entry.data) + at, dimension());
}

}  // namespace clara
