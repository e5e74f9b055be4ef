// Attention of one new token a sequence. On the CPU each query head is one pass over its keys and
// one over its values, in float32; elsewhere ATen operators.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/cpu_clones.h"
#include "common/cpu_math.h"
#include "model/attention.h"
#include "model/cpu_kernels.h"
#include "model/plain_attention.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using cpu::Bf16;
using torch::Tensor;

constexpr std::int64_t kMinMacsPerThread = 1 << 15;

template <typename T>
struct NewTokens {
  const T *q, *k, *v;  // rows of tokens, which may lie apart
  std::int64_t q_stride, k_stride, v_stride;
  const std::int64_t* positions;
  const float *cos, *sin;  // [N, half]
  std::int64_t half;
  T *keys, *values;  // [N, Hkv, capacity, hd]
  T* out;            // [N, H·hd]
  std::int64_t num_kv_heads, group, capacity, head_dim;
  float score_scale;

  std::int64_t visible(std::int64_t pair) const { return positions[pair / num_kv_heads] + 1; }
};

/// A head with its first 2·half dimensions rotated, times `scale`.
template <typename T, typename To>
CLARA_INLINE void rotated(const T* in, To* out, const NewTokens<T>& a, std::int64_t n,
                          float scale) {
  const float *cos = a.cos + n * a.half, *sin = a.sin + n * a.half;
  for (std::int64_t i = 0; i < a.half; ++i) {
    const float first = cpu::load(in + i), second = cpu::load(in + a.half + i);
    cpu::store(out + i, (first * cos[i] - second * sin[i]) * scale);
    cpu::store(out + a.half + i, (second * cos[i] + first * sin[i]) * scale);
  }
  for (std::int64_t i = 2 * a.half; i < a.head_dim; ++i)
    cpu::store(out + i, cpu::load(in + i) * scale);
}

/// scores → e^(scores − maximum), their sum.
CLARA_INLINE float exponentials(float* scores, std::int64_t n) {
  float maximum = -std::numeric_limits<float>::infinity();
  for (std::int64_t j = 0; j < n; ++j) maximum = scores[j] > maximum ? scores[j] : maximum;
  for (std::int64_t j = 0; j < n; ++j) scores[j] = cpu::exp_f32(scores[j] - maximum);
  return cpu::lane_sum(n, [&](std::int64_t j) { return scores[j]; });
}

/// The query heads that share a key-value head, of one sequence. `buffer` holds hd floats for a
/// query, then a float for each visible key, then hd for the sum of values.
template <typename T>
CLARA_INLINE void attend(const NewTokens<T>& a, std::int64_t pair, float* buffer) {
  const std::int64_t n = pair / a.num_kv_heads, h = pair % a.num_kv_heads, hd = a.head_dim,
                     visible = a.visible(pair);
  T *keys = a.keys + pair * a.capacity * hd, *values = a.values + pair * a.capacity * hd;
  rotated(a.k + n * a.k_stride + h * hd, keys + (visible - 1) * hd, a, n, 1.0F);
  std::memcpy(values + (visible - 1) * hd, a.v + n * a.v_stride + h * hd,
              static_cast<std::size_t>(hd) * sizeof(T));
  float *query = buffer, *scores = query + hd, *sum = scores + visible;
  for (std::int64_t g = h * a.group; g < (h + 1) * a.group; ++g) {
    rotated(a.q + n * a.q_stride + g * hd, query, a, n, a.score_scale);
    for (std::int64_t j = 0; j < visible; ++j) {
      const T* key = keys + j * hd;
      scores[j] = cpu::lane_sum(hd, [&](std::int64_t i) { return query[i] * cpu::load(key + i); });
    }
    const float total = exponentials(scores, visible);
    std::fill_n(sum, hd, 0.0F);
    for (std::int64_t j = 0; j < visible; ++j) {
      const T* value = values + j * hd;
      for (std::int64_t i = 0; i < hd; ++i) sum[i] += scores[j] * cpu::load(value + i);
    }
    T* out = a.out + (n * a.num_kv_heads * a.group + g) * hd;
    for (std::int64_t i = 0; i < hd; ++i) cpu::store(out + i, sum[i] / total);
  }
}
CLARA_FMA_CLONES void attend_f32(const NewTokens<float>& a, std::int64_t pair, float* buffer) {
  attend(a, pair, buffer);
}
CLARA_FMA_CLONES void attend_bf16(const NewTokens<Bf16>& a, std::int64_t pair, float* buffer) {
  attend(a, pair, buffer);
}

template <typename T, typename Kernel>
void attend_to_cache(Kernel kernel, const Tensor& q, const Tensor& k, const Tensor& v,
                     const AttentionShape& shape, const Tensor& positions, std::int64_t longest,
                     const RotaryTable& rotary, LayerCache& cache, Tensor& out) {
  const auto read = [](const Tensor& t) { return static_cast<const T*>(t.const_data_ptr()); };
  const auto write = [](Tensor& t) { return static_cast<T*>(t.mutable_data_ptr()); };
  NewTokens<T> a;
  a.q = read(q), a.k = read(k), a.v = read(v);
  a.q_stride = q.stride(0), a.k_stride = k.stride(0), a.v_stride = v.stride(0);
  a.positions = positions.const_data_ptr<std::int64_t>();
  a.cos = rotary.cos.const_data_ptr<float>(), a.sin = rotary.sin.const_data_ptr<float>();
  a.half = rotary.cos.size(1);
  a.keys = write(cache.keys), a.values = write(cache.values), a.out = write(out);
  a.num_kv_heads = shape.num_kv_heads, a.group = shape.num_heads / shape.num_kv_heads;
  a.capacity = cache.keys.size(2), a.head_dim = shape.head_dim;
  a.score_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  const std::int64_t pairs = q.size(0) * shape.num_kv_heads,
                     macs = std::max<std::int64_t>(1, 2 * longest * shape.head_dim * a.group);
  at::parallel_for(
      0, pairs, std::max<std::int64_t>(1, kMinMacsPerThread / macs),
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> buffer(static_cast<std::size_t>(longest + 2 * shape.head_dim));
        for (std::int64_t pair = begin; pair < end; ++pair) kernel(a, pair, buffer.data());
      });
}

/// The loops look at addresses alone.
void check(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionShape& shape,
           const Tensor& positions, std::int64_t longest, const RotaryTable& rotary,
           const LayerCache& cache) {
  const std::int64_t num = q.size(0), width = shape.num_kv_heads * shape.head_dim;
  const auto is_dense = [&](const Tensor& t, std::int64_t columns) {
    return t.scalar_type() == q.scalar_type() && t.stride(1) == 1 && t.size(0) == num &&
           t.size(1) == columns;
  };
  const std::int64_t capacity = cache.keys.size(2);
  const auto is_cache = [&](const Tensor& t) {
    return t.scalar_type() == q.scalar_type() && t.is_contiguous() &&
           t.sizes() == torch::IntArrayRef({num, shape.num_kv_heads, capacity, shape.head_dim});
  };
  const auto is_table = [&](const Tensor& t) {
    return t.scalar_type() == torch::kFloat32 && t.is_contiguous() && t.size(0) == num &&
           2 * t.size(1) <= shape.head_dim;
  };
  if (!is_dense(q, shape.num_heads * shape.head_dim) || !is_dense(k, width) || !is_dense(v, width))
    throw Error("cached attention expects queries, keys and values of one dtype, heads dense");
  if (!is_cache(cache.keys) || !is_cache(cache.values))
    throw Error("cached attention expects a contiguous cache of the queries' dtype");
  if (!is_table(rotary.cos) || !is_table(rotary.sin))
    throw Error("cached attention expects a contiguous rotary table of all sequences");
  if (!positions.is_contiguous() || positions.numel() != num || longest > capacity)
    throw Error("cached attention expects a position for each sequence, inside the cache");
  const auto* places = positions.const_data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < num; ++n) {
    if (places[n] < 0 || places[n] >= longest)
      throw Error("cached attention expects positions below the longest sequence's length");
  }
}

}  // namespace

Tensor cached_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionShape& shape, const Tensor& positions, std::int64_t longest,
                        const RotaryTable& rotary, LayerCache& cache) {
  const auto dtype = q.scalar_type();
  const bool has_loops = dtype == torch::kFloat32 || dtype == torch::kBFloat16;
  if (!cpu::take(q) || !has_loops)
    return plain_cached_attention(q, k, v, shape, positions, longest, rotary, cache);
  check(q, k, v, shape, positions, longest, rotary, cache);
  Tensor out = torch::empty({q.size(0), shape.num_heads * shape.head_dim}, q.options());
  if (dtype == torch::kBFloat16) {
    attend_to_cache<Bf16>(attend_bf16, q, k, v, shape, positions, longest, rotary, cache, out);
  } else {
    attend_to_cache<float>(attend_f32, q, k, v, shape, positions, longest, rotary, cache, out);
  }
  return out;
}

}  // namespace clara
