// Causal grouped-query attention over packed sequences, rotary included; it fills a key-value
// cache.
#pragma once

#include <memory>
#include <vector>

#include <torch/types.h>

#include "clara/model/packed_sequences.h"
#include "clara/model/rotary.h"

namespace clara {

struct AttentionShape {
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
};

/// Rotated keys and values of one layer: [N, Hkv, capacity, hd] each. Positions from `lengths` on
/// are unwritten.
struct LayerCache {
  torch::Tensor keys;
  torch::Tensor values;
};

/// Attention of every sequence to itself. q [T, H·hd], k, v [T, Hkv·hd], before rotation → [T,
/// H·hd]. Differentiable. With `cache` (no gradient then) also writes the rotated keys and the
/// values of sequence n to its first length(n) places.
torch::Tensor packed_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, const AttentionShape& shape,
                               const std::shared_ptr<const PackedLayout>& layout,
                               const RotaryTable& rotary, LayerCache* cache = nullptr);

}  // namespace clara
