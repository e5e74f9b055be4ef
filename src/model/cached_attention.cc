// Attention of one new token a sequence. On the CPU each query head is one pass over its keys and
// one over its values, in float32; elsewhere ATen operators.
#include "model/cached_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "common/cpu_clones.h"
#include "common/cpu_math.h"
#include "model/cpu_kernels.h"
#include "model/head_rotation.h"
#include "model/plain_attention.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using cpu::Bf16;
using torch::Tensor;

constexpr std::int64_t kMinMacsPerThread = 1 << 15;

/// What the loops look at.
template <typename T>
struct Operands {
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
  CLARA_INLINE cpu::HeadAngles angles(std::int64_t n) const {
    return {cos + n * half, sin + n * half, half};
  }
};

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
CLARA_INLINE void attend(const Operands<T>& a, std::int64_t pair, float* buffer) {
  const std::int64_t n = pair / a.num_kv_heads, h = pair % a.num_kv_heads, hd = a.head_dim,
                     visible = a.visible(pair);
  T *keys = a.keys + pair * a.capacity * hd, *values = a.values + pair * a.capacity * hd;
  cpu::rotate_head(a.k + n * a.k_stride + h * hd, keys + (visible - 1) * hd, a.angles(n), hd, 1.0F);
  std::memcpy(values + (visible - 1) * hd, a.v + n * a.v_stride + h * hd,
              static_cast<std::size_t>(hd) * sizeof(T));
  float *query = buffer, *scores = query + hd, *sum = scores + visible;
  for (std::int64_t g = h * a.group; g < (h + 1) * a.group; ++g) {
    cpu::rotate_head(a.q + n * a.q_stride + g * hd, query, a.angles(n), hd, a.score_scale);
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
CLARA_FMA_CLONES void attend_f32(const Operands<float>& a, std::int64_t pair, float* buffer) {
  attend(a, pair, buffer);
}
CLARA_FMA_CLONES void attend_bf16(const Operands<Bf16>& a, std::int64_t pair, float* buffer) {
  attend(a, pair, buffer);
}

template <typename T, typename Kernel>
Tensor attend_to_cache(Kernel kernel, const NewTokens& t, const AttentionShape& shape,
                       LayerCache& cache) {
  Tensor out = torch::empty({t.q.size(0), shape.num_heads * shape.head_dim}, t.q.options());
  const auto read = [](const Tensor& x) { return static_cast<const T*>(x.const_data_ptr()); };
  const auto write = [](Tensor& x) { return static_cast<T*>(x.mutable_data_ptr()); };
  Operands<T> a;
  a.q = read(t.q), a.k = read(t.k), a.v = read(t.v);
  a.q_stride = t.q.stride(0), a.k_stride = t.k.stride(0), a.v_stride = t.v.stride(0);
  a.positions = t.positions.const_data_ptr<std::int64_t>();
  a.cos = t.rotary.cos.const_data_ptr<float>(), a.sin = t.rotary.sin.const_data_ptr<float>();
  a.half = t.rotary.cos.size(1);
  a.keys = write(cache.keys), a.values = write(cache.values), a.out = write(out);
  a.num_kv_heads = shape.num_kv_heads, a.group = shape.num_heads / shape.num_kv_heads;
  a.capacity = cache.keys.size(2), a.head_dim = shape.head_dim;
  a.score_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(shape.head_dim)));
  const std::int64_t pairs = t.q.size(0) * shape.num_kv_heads,
                     macs = std::max<std::int64_t>(1, 2 * t.longest * shape.head_dim * a.group);
  at::parallel_for(
      0, pairs, std::max<std::int64_t>(1, kMinMacsPerThread / macs),
      [&](std::int64_t begin, std::int64_t end) {
        std::vector<float> buffer(static_cast<std::size_t>(t.longest + 2 * shape.head_dim));
        for (std::int64_t pair = begin; pair < end; ++pair) kernel(a, pair, buffer.data());
      });
  return out;
}

/// The loops look at addresses alone.
void check(const NewTokens& tokens, const AttentionShape& shape, const LayerCache& cache) {
  const auto& [q, k, v, positions, longest, rotary] = tokens;
  const auto dtype = q.scalar_type();
  const std::int64_t num = q.size(0), width = shape.num_kv_heads * shape.head_dim;
  const auto is_dense = [num, dtype](const Tensor& t, std::int64_t columns) {
    return t.scalar_type() == dtype && t.stride(1) == 1 && t.size(0) == num && t.size(1) == columns;
  };
  const std::int64_t capacity = cache.keys.size(2);
  const auto is_cache = [&](const Tensor& t) {
    return t.scalar_type() == dtype && t.is_contiguous() &&
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

Tensor cached_attention(const NewTokens& tokens, const AttentionShape& shape, LayerCache& cache) {
  const auto dtype = tokens.q.scalar_type();
  const bool has_loops = dtype == torch::kFloat32 || dtype == torch::kBFloat16;
  if (!cpu::take(tokens.q) || !has_loops) return plain_cached_attention(tokens, shape, cache);
  check(tokens, shape, cache);
  return dtype == torch::kBFloat16 ? attend_to_cache<Bf16>(attend_bf16, tokens, shape, cache)
                                   : attend_to_cache<float>(attend_f32, tokens, shape, cache);
}

}  // namespace clara
