// Shards are safetensors files, so that other programs can read them: a tensor "vectors", and
// "scales" where its elements are int8.
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
constexpr const char* kScalesName = "scales";
constexpr std::int64_t kScaleBlock = 64;  // elements that share a scale
constexpr float kMostInt8 = 127;
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
                    "), found none; it is no file of clara-data index");
  }
  return hash;
}

std::int64_t num_scales(std::int64_t dimension) {
  return (dimension + kScaleBlock - 1) / kScaleBlock;
}

/// scales [n, B] as float32 [n, D].
torch::Tensor spread(const torch::Tensor& scales, std::int64_t dimension) {
  return scales.to(torch::kFloat32).repeat_interleave(kScaleBlock, 1).narrow(1, 0, dimension);
}

/// The tensors of a shard.
std::map<std::string, torch::Tensor> to_tensors(const torch::Tensor& vectors_nD,
                                                TensorDtype dtype) {
  if (dtype != TensorDtype::kI8) return {{kTensorName, vectors_nD.to(to_torch_dtype(dtype))}};
  const std::int64_t dimension = vectors_nD.size(1);
  const torch::Tensor padded =
      torch::constant_pad_nd(vectors_nD, {0, num_scales(dimension) * kScaleBlock - dimension});
  const torch::Tensor scales =
      (padded.abs().unflatten(1, {num_scales(dimension), kScaleBlock}).amax(2) / kMostInt8)
          .to(torch::kBFloat16);
  const torch::Tensor wide = spread(scales, dimension);
  const torch::Tensor numbers = torch::where(wide > 0, vectors_nD / wide, torch::zeros_like(wide));
  return {{kTensorName, numbers.round().clamp(-kMostInt8, kMostInt8).to(torch::kChar)},
          {kScalesName, scales}};
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
  const bool has_type = entry.dtype == TensorDtype::kF32 || entry.dtype == TensorDtype::kF16 ||
                        entry.dtype == TensorDtype::kBF16 || entry.dtype == TensorDtype::kI8;
  if (!has_shape || !has_type) {
    throw DataError(file.path().string() +
                    ": tensor vectors: expected F32, F16, BF16 or I8 [rows up to " +
                    std::to_string(source.shard_rows) + ", dimension], found " +
                    std::string(dtype_name(entry.dtype)) + " " + shape_string(entry.shape));
  }
  if (entry.dtype == TensorDtype::kI8) {
    const TensorEntry& scales = file.at(kScalesName);
    const std::vector<std::int64_t> shape = {entry.shape[0], num_scales(entry.shape[1])};
    if (scales.dtype != TensorDtype::kBF16 || scales.shape != shape) {
      throw DataError(file.path().string() + ": tensor scales: expected BF16 " +
                      shape_string(shape) + ", found " + std::string(dtype_name(scales.dtype)) +
                      " " + shape_string(scales.shape));
    }
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

CLARA_INLINE float value(const float& element) { return element; }
CLARA_INLINE float value(const at::Half& element) { return static_cast<float>(element); }
CLARA_INLINE float value(const cpu::Bf16& element) { return cpu::load(&element); }
CLARA_INLINE float value(const std::int8_t& element) { return static_cast<float>(element); }

template <typename T>
CLARA_INLINE float product(const float* query, const T* row, std::int64_t size) {
  return cpu::lane_sum(size, [&](std::int64_t i) { return query[i] * value(row[i]); });
}

CLARA_CPU_CLONES float product_f32(const float* query, const float* row, std::int64_t size) {
  return product(query, row, size);
}
CLARA_CPU_CLONES float product_bf16(const float* query, const cpu::Bf16* row, std::int64_t size) {
  return product(query, row, size);
}
CLARA_CPU_CLONES float product_int8(const float* query, const std::int8_t* row,
                                    const cpu::Bf16* scales, std::int64_t size) {
  float sum = 0;
  for (std::int64_t begin = 0; begin < size; begin += kScaleBlock) {
    sum += cpu::load(scales + begin / kScaleBlock) *
           product(query + begin, row + begin, std::min(kScaleBlock, size - begin));
  }
  return sum;
}

}  // namespace

std::string vector_shard_name(std::int64_t number) {
  std::string digits = std::to_string(number);
  digits.insert(0, digits.size() < 6 ? 6 - digits.size() : 0, '0');
  return "vectors_" + digits + ".safetensors";
}

std::vector<std::int64_t> list_vector_shards(const fs::path& folder) {
  std::vector<std::int64_t> numbers;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const std::string::size_type digits = name.find('_') + 1;
    std::int64_t number = -1;
    std::from_chars(name.data() + digits, name.data() + name.size(), number);
    if (number >= 0 && name == vector_shard_name(number)) numbers.push_back(number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
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
  save_tensors(folder / vector_shard_name(number), to_tensors(vectors_nD, source.dtype),
               to_metadata(source));
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

std::int64_t VectorShards::vector_bytes() const {
  const auto elements = dimension() * static_cast<std::int64_t>(dtype_num_bytes(source_.dtype));
  return source_.dtype == TensorDtype::kI8 ? elements + 2 * num_scales(dimension()) : elements;
}

torch::Tensor VectorShards::rows(std::int64_t first, std::int64_t n) const {
  torch::Tensor out = torch::empty({n, dimension()});
  for (std::int64_t done = 0; done < n;) {
    const std::int64_t shard = (first + done) / source_.shard_rows;
    const std::int64_t within = (first + done) % source_.shard_rows;
    const SafetensorsFile& file = files_.at(static_cast<std::size_t>(shard));
    const TensorEntry& entry = file.at(kTensorName);
    const std::int64_t count = std::min(n - done, entry.shape[0] - within);
    const auto stored = [&](const TensorEntry& of) {
      return map_tensor(of, file.mapping()).narrow(0, within, count);
    };
    torch::Tensor part = out.narrow(0, done, count);
    part.copy_(stored(entry));
    if (source_.dtype == TensorDtype::kI8)
      part.mul_(spread(stored(file.at(kScalesName)), dimension()));
    done += count;
  }
  return out;
}

float VectorShards::inner_product(const float* query, std::int64_t row) const {
  const SafetensorsFile& file = files_.at(static_cast<std::size_t>(row / source_.shard_rows));
  const TensorEntry& entry = file.at(kTensorName);
  const std::int64_t at = row % source_.shard_rows * dimension();
  switch (entry.dtype) {
    case TensorDtype::kF32:
      return product_f32(query, reinterpret_cast<const float*>(entry.data) + at, dimension());
    case TensorDtype::kBF16:
      return product_bf16(query, reinterpret_cast<const cpu::Bf16*>(entry.data) + at, dimension());
    case TensorDtype::kI8:
      return product_int8(query, reinterpret_cast<const std::int8_t*>(entry.data) + at,
                          reinterpret_cast<const cpu::Bf16*>(file.at(kScalesName).data) +
                              row % source_.shard_rows * num_scales(dimension()),
                          dimension());
    default:
      return product(query, reinterpret_cast<const at::Half*>(entry.data) + at, dimension());
  }
}

}  // namespace clara
