// Whole sequences go to scaled_dot_product_attention, which picks its kernel.
#include "model/plain_attention.h"

#include <cmath>
#include <limits>

#include <torch/torch.h>

namespace clara {

using torch::Tensor;

Tensor rotate_heads(const Tensor& x, const RotaryTable& rotary) {
  const std::int64_t half = rotary.cos.size(1), rest = x.size(2) - 2 * half;
  const std::vector<Tensor> parts = x.to(torch::kFloat32).split_with_sizes({half, half, rest}, -1);
  const Tensor cos = rotary.cos.unsqueeze(1), sin = rotary.sin.unsqueeze(1);
  return torch::cat({parts[0] * cos - parts[1] * sin, parts[1] * cos + parts[0] * sin, parts[2]},
                    -1)
      .to(x.dtype());
}

Tensor padded_attention(const Tensor& q, const Tensor& k, const Tensor& v,
                        const AttentionShape& shape, const PackedLayout& layout,
                        const RotaryTable& rotary, LayerCache* cache) {
  const std::int64_t num = layout.num_sequences(), longest = layout.longest();
  const Tensor& place = layout.padded_places();
  const auto spread = [&](const Tensor& x,
                          std::int64_t heads) {  // [T, heads, hd] -> [N, heads, longest, hd]
    return torch::zeros({num * longest, heads, shape.head_dim}, x.options())
        .index_copy(0, place, x)
        .view({num, longest, heads, shape.head_dim})
        .transpose(1, 2);
  };
  const Tensor q_heads =
      spread(rotate_heads(q.view({-1, shape.num_heads, shape.head_dim}), rotary), shape.num_heads);
  const Tensor k_heads = spread(
      rotate_heads(k.view({-1, shape.num_kv_heads, shape.head_dim}), rotary), shape.num_kv_heads);
  const Tensor v_heads =
      spread(v.view({-1, shape.num_kv_heads, shape.head_dim}), shape.num_kv_heads);
  if (cache != nullptr) {
    cache->keys.narrow(2, 0, longest).copy_(k_heads);
    cache->values.narrow(2, 0, longest).copy_(v_heads);
  }
  const Tensor out =
      at::scaled_dot_product_attention(q_heads, k_heads, v_heads, {}, 0.0, /*is_causal=*/true, {},
                                       /*enable_gqa=*/shape.num_heads != shape.num_kv_heads);
  return out.transpose(1, 2)
      .reshape({num * longest, shape.num_heads * shape.head_dim})
      .index_select(0, place);
}

Tensor plain_cached_attention(const NewTokens& tokens, const AttentionShape& shape,
                              LayerCache& cache) {
  const auto& [q, k, v, positions, longest, rotary] = tokens;
  const std::int64_t num = q.size(0), group = shape.num_heads / shape.num_kv_heads;
  const Tensor rows = torch::arange(num, positions.options());
  const Tensor q_heads = rotate_heads(q.view({num, shape.num_heads, shape.head_dim}), rotary);
  cache.keys.index_put_({rows, torch::indexing::Slice(), positions},
                        rotate_heads(k.view({num, shape.num_kv_heads, shape.head_dim}), rotary));
  cache.values.index_put_({rows, torch::indexing::Slice(), positions},
                          v.view({num, shape.num_kv_heads, shape.head_dim}));
  const Tensor keys = cache.keys.narrow(2, 0, longest), values = cache.values.narrow(2, 0, longest);
  const Tensor grouped = q_heads.view({num, shape.num_kv_heads, group, shape.head_dim});
  Tensor scores = torch::matmul(grouped, keys.transpose(2, 3)).to(torch::kFloat32) /
                  std::sqrt(static_cast<double>(shape.head_dim));
  const Tensor hidden = torch::arange(longest, positions.options()).unsqueeze(0) >
                        positions.unsqueeze(1);  // [N, longest]
  scores.masked_fill_(hidden.view({num, 1, 1, longest}), -std::numeric_limits<double>::infinity());
  return torch::matmul(scores.softmax(-1).to(q.dtype()), values)
      .reshape({num, shape.num_heads * shape.head_dim});
}

}  // namespace clara
