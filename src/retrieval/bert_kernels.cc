// The matrix products inside attention are small and oddly shaped: a loop over tiles that stay in
// registers beats a library call for each of them.
#include "retrieval/bert_kernels.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "common/cpu_clones.h"
#include "common/cpu_math.h"

namespace clara::bert {
namespace {

using cpu::exp_f32;
using cpu::lane_sum;

constexpr std::int64_t kRows = 6;      // of a tile
constexpr std::int64_t kColumns = 16;  // of a tile

std::int64_t padded(std::int64_t columns) { return (columns + kColumns - 1) / kColumns * kColumns; }

// out = (in - mean) / deviation · weight + shift; two passes, since one loses digits.
CLARA_INLINE void normalize_row(const float* in, const float* weight, const float* shift,
                                float* out, std::int64_t width, float eps) {
  const auto count = static_cast<float>(width);
  const float mean = lane_sum(width, [&](std::int64_t i) { return in[i]; }) / count;
  const float variance =
      lane_sum(width, [&](std::int64_t i) { return (in[i] - mean) * (in[i] - mean); }) / count;
  const float scale = 1.0F / std::sqrt(variance + eps);
  for (std::int64_t i = 0; i < width; ++i) out[i] = (in[i] - mean) * scale * weight[i] + shift[i];
}

// gelu by the complementary error function of Abramowitz and Stegun 7.1.26 (error below 1.5e-7).
CLARA_INLINE float gelu(float x) {
  const float z = (x < 0.0F ? -x : x) * 0.70710678118654752F;
  const float t = 1.0F / (1.0F + 0.3275911F * z);
  float p = 1.061405429F;
  p = p * t - 1.453152027F;
  p = p * t + 1.421413741F;
  p = p * t - 0.284496736F;
  p = p * t + 0.254829592F;
  const float tail = 0.5F * x * p * t * exp_f32(-z * z);
  return x < 0.0F ? tail : x - tail;
}

CLARA_CPU_CLONES void norm_rows(const NormRows& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const float* x = a.x + row * a.width;
    float* out = a.out + row * a.width;
    if (a.delta != nullptr) {
      const float* delta = a.delta + row * a.width;
      for (std::int64_t i = 0; i < a.width; ++i) out[i] = x[i] + (delta[i] + a.bias[i]);
      x = out;
    }
    normalize_row(x, a.weight, a.shift, out, a.width, a.eps);
  }
}

CLARA_CPU_CLONES void embed_rows(const EmbeddingRows& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    const float* word = a.word + a.ids[row] * a.width;
    const float* position = a.position + a.positions[row] * a.width;
    const float* type = a.type + a.types[row] * a.width;
    float* out = a.out + row * a.width;
    for (std::int64_t i = 0; i < a.width; ++i) out[i] = (word[i] + type[i]) + position[i];
    normalize_row(out, a.weight, a.shift, out, a.width, a.eps);
  }
}

CLARA_CPU_CLONES void gelu_rows(float* x, const float* bias, std::int64_t width, std::int64_t begin,
                                std::int64_t end) {
  for (std::int64_t row = begin; row < end; ++row) {
    float* values = x + row * width;
    for (std::int64_t i = 0; i < width; ++i) values[i] = gelu(values[i] + bias[i]);
  }
}

// c[R, n] = a[R, k] · b[k, n] with n a multiple of kColumns; the rows of b and c are as far apart
// as told.
template <std::int64_t R>
CLARA_INLINE void product(const float* a, std::int64_t a_stride, const float* b,
                          std::int64_t b_stride, float* c, std::int64_t c_stride, std::int64_t k,
                          std::int64_t n) {
  using Lanes = float __attribute__((vector_size(32), aligned(4), may_alias));
  for (std::int64_t column = 0; column < n; column += kColumns) {
    Lanes sums[R][2] = {};
    for (std::int64_t i = 0; i < k; ++i) {
      const float* from = b + i * b_stride + column;
      const Lanes low = *reinterpret_cast<const Lanes*>(from);
      const Lanes high = *reinterpret_cast<const Lanes*>(from + 8);
      for (std::int64_t r = 0; r < R; ++r) {
        const float factor = a[r * a_stride + i];
        sums[r][0] += factor * low;
        sums[r][1] += factor * high;
      }
    }
    for (std::int64_t r = 0; r < R; ++r) {
      *reinterpret_cast<Lanes*>(c + r * c_stride + column) = sums[r][0];
      *reinterpret_cast<Lanes*>(c + r * c_stride + column + 8) = sums[r][1];
    }
  }
}

CLARA_INLINE void softmax_row(float* row, std::int64_t size) {
  float most = -std::numeric_limits<float>::infinity();
  for (std::int64_t i = 0; i < size; ++i) most = row[i] > most ? row[i] : most;
  for (std::int64_t i = 0; i < size; ++i) row[i] = exp_f32(row[i] - most);
  const float scale = 1.0F / lane_sum(size, [&](std::int64_t i) { return row[i]; });
  for (std::int64_t i = 0; i < size; ++i) row[i] *= scale;
}

// Where the parts of one head stand in the scratch memory.
struct HeadMemory {
  float* queries;        // [kRows, head_dim], scaled
  float* keys;           // [head_dim, padded keys]
  float* values;         // [keys, padded head_dim]
  float* probabilities;  // [kRows, padded keys]
  float* out;            // [kRows, padded head_dim]
};

CLARA_FMA_CLONES void attend_head(const HeadTask& task, const HeadMemory& memory) {
  const std::int64_t dim = task.head_dim, keys = task.num_keys;
  const std::int64_t key_columns = (keys + kColumns - 1) / kColumns * kColumns;
  const std::int64_t columns = (dim + kColumns - 1) / kColumns * kColumns;
  for (std::int64_t j = 0; j < keys; ++j) {
    const float* k = task.k + j * task.kv_stride;
    const float* v = task.v + j * task.kv_stride;
    float* value = memory.values + j * columns;
    for (std::int64_t i = 0; i < dim; ++i) memory.keys[i * key_columns + j] = k[i] + task.k_bias[i];
    for (std::int64_t i = 0; i < dim; ++i) value[i] = v[i] + task.v_bias[i];
    for (std::int64_t i = dim; i < columns; ++i) value[i] = 0.0F;
  }
  for (std::int64_t i = 0; i < dim; ++i) {
    for (std::int64_t j = keys; j < key_columns; ++j) memory.keys[i * key_columns + j] = 0.0F;
  }
  for (std::int64_t first = 0; first < task.num_queries; first += kRows) {
    const std::int64_t rows = std::min(kRows, task.num_queries - first);
    for (std::int64_t r = 0; r < kRows; ++r) {
      // A tile that is not full repeats its last query.
      const float* q = task.q + (first + std::min(r, rows - 1)) * task.q_stride;
      for (std::int64_t i = 0; i < dim; ++i) {
        memory.queries[r * dim + i] = (q[i] + task.q_bias[i]) * task.scale;
      }
    }
    product<kRows>(memory.queries, dim, memory.keys, key_columns, memory.probabilities, key_columns,
                   dim, key_columns);
    for (std::int64_t r = 0; r < rows; ++r)
      softmax_row(memory.probabilities + r * key_columns, keys);
    product<kRows>(memory.probabilities, key_columns, memory.values, columns, memory.out, columns,
                   keys, columns);
    for (std::int64_t r = 0; r < rows; ++r) {
      float* out = task.out + (first + r) * task.out_stride;
      for (std::int64_t i = 0; i < dim; ++i) out[i] = memory.out[r * columns + i];
    }
  }
}

}  // namespace

void add_layer_norm(const NormRows& rows, std::int64_t begin, std::int64_t end) {
  norm_rows(rows, begin, end);
}

void embed(const EmbeddingRows& rows, std::int64_t begin, std::int64_t end) {
  embed_rows(rows, begin, end);
}

void bias_gelu(float* x, const float* bias, std::int64_t width, std::int64_t begin,
               std::int64_t end) {
  gelu_rows(x, bias, width, begin, end);
}

void attend(const HeadTask& task, std::vector<float>& scratch) {
  const std::int64_t key_columns = padded(task.num_keys), columns = padded(task.head_dim);
  const std::int64_t sizes[] = {kRows * task.head_dim, task.head_dim * key_columns,
                                task.num_keys * columns, kRows * key_columns, kRows * columns};
  std::int64_t total = 0;
  for (const std::int64_t size : sizes) total += size;
  if (static_cast<std::int64_t>(scratch.size()) < total) {
    scratch.resize(static_cast<std::size_t>(total));
  }
  HeadMemory memory{};
  float* next = scratch.data();
  float** const parts[] = {&memory.queries, &memory.keys, &memory.values, &memory.probabilities,
                           &memory.out};
  for (std::size_t i = 0; i < std::size(parts); ++i) {
    *parts[i] = next;
    next += sizes[i];
  }
  attend_head(task, memory);
}

}  // namespace clara::bert
