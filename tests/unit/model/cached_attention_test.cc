// Attention of one new token a sequence against operators on the whole cache, which other devices
// use.
#include "model/cached_attention.h"

#include <cmath>
#include <functional>

#include "model/plain_attention.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/model/rotary.h"

namespace clara::testing {
namespace {

using torch::Tensor;

constexpr std::int64_t kCapacity = 70;

/// New tokens of sequences that are somewhere else each.
NewTokens some_tokens(const AttentionShape& shape, const std::vector<std::int64_t>& positions,
                      std::int64_t rotated, torch::Dtype dtype) {
  const auto num = static_cast<std::int64_t>(positions.size());
  const std::int64_t kv_width = shape.num_kv_heads * shape.head_dim;
  NewTokens t;
  // Parts of one tensor, as a fused projection gives them.
  const Tensor qkv = torch::randn({num, shape.num_heads * shape.head_dim + 2 * kv_width}).to(dtype);
  const std::vector<Tensor> parts =
      qkv.split_with_sizes({shape.num_heads * shape.head_dim, kv_width, kv_width}, 1);
  t.q = parts[0], t.k = parts[1], t.v = parts[2];
  t.positions = torch::tensor(positions, torch::kInt64);
  t.longest = 1 + t.positions.max().item<std::int64_t>();
  t.rotary = rotary_table(torch::rand({rotated / 2}), t.positions);
  return t;
}

LayerCache some_cache(const AttentionShape& shape, std::int64_t num, torch::Dtype dtype) {
  const std::vector<std::int64_t> sizes{num, shape.num_kv_heads, kCapacity, shape.head_dim};
  return {torch::randn(sizes).to(dtype), torch::randn(sizes).to(dtype)};
}

LayerCache copy_of(const LayerCache& cache) { return {cache.keys.clone(), cache.values.clone()}; }

Tensor plain(NewTokens t, const AttentionShape& shape, LayerCache& cache) {
  for (Tensor* x : {&t.q, &t.k, &t.v}) *x = x->contiguous();
  return plain_cached_attention(t, shape, cache);
}

TEST(CachedAttention, EqualsOperatorsOnTheWholeCache) {
  torch::manual_seed(1);
  for (const AttentionShape& shape :
       {AttentionShape{6, 2, 16}, AttentionShape{4, 4, 10}, AttentionShape{3, 1, 64}}) {
    for (const std::int64_t rotated : {shape.head_dim, shape.head_dim - 4}) {
      const NewTokens t = some_tokens(shape, {0, 5, 69, 31, 5}, rotated, torch::kFloat32);
      const LayerCache before = some_cache(shape, 5, torch::kFloat32);
      LayerCache found_cache = copy_of(before), expected_cache = copy_of(before);
      const Tensor found = cached_attention(t, shape, found_cache),
                   expected = plain(t, shape, expected_cache);
      EXPECT_TRUE(torch::allclose(found, expected, 1e-5, 1e-5))
          << (found - expected).abs().max().item<double>();
      EXPECT_TRUE(torch::allclose(found_cache.keys, expected_cache.keys, 1e-6, 1e-6));
      EXPECT_TRUE(torch::equal(found_cache.values, expected_cache.values));
      // Everything but the new tokens' places is as it was.
      EXPECT_TRUE(torch::equal(found_cache.keys.narrow(2, 0, 5).select(0, 2),
                               before.keys.narrow(2, 0, 5).select(0, 2)));
    }
  }
}

/// Attention by the book, in float32, to a cache that has the new keys and values.
Tensor exact_attention(const NewTokens& t, const AttentionShape& shape, const LayerCache& cache) {
  const std::int64_t group = shape.num_heads / shape.num_kv_heads, num = t.q.size(0);
  const Tensor q = rotate_heads(
      t.q.to(torch::kFloat32).reshape({num, shape.num_heads, shape.head_dim}), t.rotary);
  std::vector<Tensor> rows;
  for (std::int64_t n = 0; n < num; ++n) {
    const std::int64_t visible = 1 + t.positions[n].item<std::int64_t>();
    const auto seen = [&](const Tensor& all) {
      return all[n].narrow(1, 0, visible).to(torch::kFloat32).repeat_interleave(group, 0);
    };
    const Tensor scores = torch::bmm(seen(cache.keys), q[n].unsqueeze(2)).squeeze(2) /
                          std::sqrt(static_cast<double>(shape.head_dim));
    rows.push_back(torch::bmm(scores.softmax(1).unsqueeze(1), seen(cache.values)).flatten());
  }
  return torch::stack(rows);
}

TEST(CachedAttention, Bfloat16IsRoundedAtTheEnd) {
  torch::manual_seed(2);
  for (const AttentionShape& shape : {AttentionShape{6, 2, 32}, AttentionShape{4, 2, 10}}) {
    const NewTokens t = some_tokens(shape, {3, 40, 69}, shape.head_dim - 4, torch::kBFloat16);
    LayerCache cache = some_cache(shape, 3, torch::kBFloat16);
    const Tensor found = cached_attention(t, shape, cache);
    ASSERT_EQ(found.scalar_type(), torch::kBFloat16);
    const Tensor exact = exact_attention(t, shape, cache);
    EXPECT_LE((found.to(torch::kFloat32) - exact).abs().max().item<double>(),
              exact.abs().max().item<double>() / 256);
    EXPECT_GE(found.eq(exact.to(torch::kBFloat16)).to(torch::kFloat32).mean().item<double>(), 0.95);
    const Tensor keys = rotate_heads(
        t.k.to(torch::kFloat32).reshape({3, shape.num_kv_heads, shape.head_dim}), t.rotary);
    for (std::int64_t n = 0; n < 3; ++n) {
      const std::int64_t place = t.positions[n].item<std::int64_t>();
      EXPECT_LE(
          (cache.keys[n].select(1, place).to(torch::kFloat32) - keys[n]).abs().max().item<double>(),
          keys[n].abs().max().item<double>() / 256);
      EXPECT_TRUE(torch::equal(cache.values[n].select(1, place).flatten(), t.v[n]));
    }
  }
}

TEST(CachedAttention, ASequenceDoesNotDependOnTheOthers) {
  torch::manual_seed(3);
  const AttentionShape shape{4, 2, 10};
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const NewTokens t = some_tokens(shape, {60, 2, 33}, 6, dtype);
    const LayerCache before = some_cache(shape, 3, dtype);
    LayerCache all_cache = copy_of(before);
    const Tensor all = cached_attention(t, shape, all_cache);
    for (std::int64_t n = 0; n < 3; ++n) {
      const auto one = [&](const Tensor& x) { return x.narrow(0, n, 1); };
      LayerCache cache{one(before.keys).clone(), one(before.values).clone()};
      const NewTokens alone{one(t.q),
                            one(t.k),
                            one(t.v),
                            one(t.positions),
                            1 + t.positions[n].item<std::int64_t>(),
                            {one(t.rotary.cos), one(t.rotary.sin)}};
      EXPECT_TRUE(torch::equal(cached_attention(alone, shape, cache)[0], all[n])) << n;
    }
  }
}

TEST(CachedAttention, RefusesWhatItsLoopsWouldReadBeyond) {
  const AttentionShape shape{4, 2, 8};
  const NewTokens good = some_tokens(shape, {1, 2}, 8, torch::kFloat32);
  const LayerCache good_cache = some_cache(shape, 2, torch::kFloat32);
  using Change = std::function<void(NewTokens&, LayerCache&)>;
  const auto attend = [&](const Change& change) {
    NewTokens t = good;
    LayerCache cache = copy_of(good_cache);
    change(t, cache);
    return cached_attention(t, shape, cache);
  };
  EXPECT_NO_THROW(attend([](NewTokens&, LayerCache&) {}));
  const std::vector<Change> changes = {
      [](NewTokens&, LayerCache& c) { c.keys = c.keys.transpose(0, 1); },
      [](NewTokens&, LayerCache& c) { c.values = c.values.to(torch::kBFloat16); },
      [](NewTokens&, LayerCache& c) { c.keys = c.keys.narrow(0, 0, 1).contiguous(); },
      [](NewTokens& t, LayerCache&) { t.k = t.k.to(torch::kBFloat16); },
      [](NewTokens& t, LayerCache&) { t.v = t.v.narrow(1, 0, 8); },
      [](NewTokens& t, LayerCache&) {
        t.q = torch::empty({32, 2}).t();
      },
      [](NewTokens& t, LayerCache&) {
        t.positions = torch::tensor({1, 3}, torch::kInt64);
      },
      [](NewTokens& t, LayerCache&) {
        t.positions = torch::tensor({-1, 2}, torch::kInt64);
      },
      [](NewTokens& t, LayerCache&) { t.positions = torch::tensor({1}, torch::kInt64); },
      [](NewTokens& t, LayerCache&) { t.longest = kCapacity + 1; },
      [](NewTokens& t, LayerCache&) { t.rotary.cos = t.rotary.cos.narrow(0, 0, 1); },
      [](NewTokens& t, LayerCache&) { t.rotary.sin = t.rotary.sin.to(torch::kFloat64); }};
  for (std::size_t i = 0; i < changes.size(); ++i)
    EXPECT_THROW(attend(changes[i]), Error) << "change " << i;
}
}  // namespace
}  // namespace clara::testing
