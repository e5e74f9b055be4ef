// Attention of one new token a sequence against operators on the whole cache, which other devices
// use.
#include "model/attention.h"
#include "model/plain_attention.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/model/rotary.h"

namespace clara::testing {
namespace {

using torch::Tensor;

/// N sequences, each of them somewhere else, whose caches have room for `capacity` tokens.
struct NewTokens {
  Tensor q, k, v, positions;
  RotaryTable rotary;
  LayerCache cache;
  std::int64_t longest = 0;
};

NewTokens some_tokens(const AttentionShape& shape, const std::vector<std::int64_t>& positions,
                      std::int64_t rotated, torch::Dtype dtype) {
  const auto num = static_cast<std::int64_t>(positions.size());
  const std::int64_t capacity = 70, kv_width = shape.num_kv_heads * shape.head_dim;
  NewTokens t;
  // Parts of one tensor, as a fused projection gives them.
  const Tensor qkv = torch::randn({num, shape.num_heads * shape.head_dim + 2 * kv_width}).to(dtype);
  const std::vector<Tensor> parts =
      qkv.split_with_sizes({shape.num_heads * shape.head_dim, kv_width, kv_width}, 1);
  t.q = parts[0], t.k = parts[1], t.v = parts[2];
  t.positions = torch::tensor(positions, torch::kInt64);
  const Tensor frequencies = torch::rand({rotated / 2});
  t.rotary = rotary_table(frequencies, t.positions);
  const std::vector<std::int64_t> sizes{num, shape.num_kv_heads, capacity, shape.head_dim};
  t.cache = {torch::randn(sizes).to(dtype), torch::randn(sizes).to(dtype)};
  t.longest = 1 + t.positions.max().item<std::int64_t>();
  return t;
}

LayerCache copy_of(const LayerCache& cache) { return {cache.keys.clone(), cache.values.clone()}; }

Tensor plain(const NewTokens& t, const AttentionShape& shape, LayerCache& cache) {
  return plain_cached_attention(t.q.contiguous(), t.k.contiguous(), t.v.contiguous(), shape,
                                t.positions, t.longest, t.rotary, cache);
}

TEST(CachedAttention, EqualsOperatorsOnTheWholeCache) {
  torch::manual_seed(1);
  for (const AttentionShape& shape :
       {AttentionShape{6, 2, 16}, AttentionShape{4, 4, 10}, AttentionShape{3, 1, 64}}) {
    for (const std::int64_t rotated : {shape.head_dim, shape.head_dim - 4}) {
      const NewTokens t = some_tokens(shape, {0, 5, 69, 31, 5}, rotated, torch::kFloat32);
      LayerCache found_cache = copy_of(t.cache), expected_cache = copy_of(t.cache);
      const Tensor found = cached_attention(t.q, t.k, t.v, shape, t.positions, t.longest, t.rotary,
                                            found_cache),
                   expected = plain(t, shape, expected_cache);
      EXPECT_TRUE(torch::allclose(found, expected, 1e-5, 1e-5))
          << (found - expected).abs().max().item<double>();
      EXPECT_TRUE(torch::allclose(found_cache.keys, expected_cache.keys, 1e-6, 1e-6));
      EXPECT_TRUE(torch::equal(found_cache.values, expected_cache.values));
      // Everything but the new tokens' places is as it was.
      EXPECT_TRUE(torch::equal(found_cache.keys.narrow(2, 0, 5).select(0, 2),
                               t.cache.keys.narrow(2, 0, 5).select(0, 2)));
    }
  }
}

TEST(CachedAttention, Bfloat16IsRoundedAtTheEnd) {
  torch::manual_seed(2);
  const AttentionShape shape{6, 2, 32};
  const NewTokens t = some_tokens(shape, {3, 40, 69}, 32, torch::kBFloat16);
  LayerCache cache = copy_of(t.cache);
  const Tensor found =
      cached_attention(t.q, t.k, t.v, shape, t.positions, t.longest, t.rotary, cache);
  NewTokens exact = t;
  for (Tensor* x : {&exact.q, &exact.k, &exact.v}) *x = x->to(torch::kFloat32);
  LayerCache wide{t.cache.keys.to(torch::kFloat32), t.cache.values.to(torch::kFloat32)};
  const Tensor expected = plain(exact, shape, wide);
  ASSERT_EQ(found.scalar_type(), torch::kBFloat16);
  // The new key alone is rounded on its way.
  EXPECT_LE((found.to(torch::kFloat32) - expected).abs().max().item<double>(), 0.02);
  EXPECT_LE((cache.keys.to(torch::kFloat32) - wide.keys).abs().max().item<double>(),
            wide.keys.abs().max().item<double>() / 256);
  EXPECT_TRUE(torch::equal(cache.values.to(torch::kFloat32), wide.values));
}

TEST(CachedAttention, ASequenceDoesNotDependOnTheOthers) {
  torch::manual_seed(3);
  const AttentionShape shape{4, 2, 16};
  const NewTokens t = some_tokens(shape, {60, 2, 33}, 16, torch::kFloat32);
  LayerCache all_cache = copy_of(t.cache);
  const Tensor all =
      cached_attention(t.q, t.k, t.v, shape, t.positions, t.longest, t.rotary, all_cache);
  for (std::int64_t n = 0; n < 3; ++n) {
    LayerCache cache{t.cache.keys.narrow(0, n, 1).clone(), t.cache.values.narrow(0, n, 1).clone()};
    const Tensor position = t.positions.narrow(0, n, 1);
    const Tensor alone =
        cached_attention(t.q.narrow(0, n, 1), t.k.narrow(0, n, 1), t.v.narrow(0, n, 1), shape,
                         position, 1 + position.item<std::int64_t>(),
                         {t.rotary.cos.narrow(0, n, 1), t.rotary.sin.narrow(0, n, 1)}, cache);
    EXPECT_TRUE(torch::equal(alone[0], all[n])) << n;
  }
}

TEST(CachedAttention, RefusesACacheThatLiesApart) {
  const AttentionShape shape{4, 2, 8};
  const NewTokens t = some_tokens(shape, {1, 2}, 8, torch::kFloat32);
  LayerCache apart{t.cache.keys.transpose(0, 1), t.cache.values.transpose(0, 1)};
  EXPECT_THROW(cached_attention(t.q, t.k, t.v, shape, t.positions, t.longest, t.rotary, apart),
               Error);
}

}  // namespace
}  // namespace clara::testing
