// Causal grouped-query attention of one new token a sequence to a key-value cache, rotary included.
#pragma once

#include <cstdint>

#include "model/attention.h"
#include <torch/types.h>

#include "clara/model/rotary.h"

namespace clara {

/// N new tokens, one a sequence, before rotation.
struct NewTokens {
  torch::Tensor q;           ///< [N, H·hd]; rows may lie apart
  torch::Tensor k, v;        ///< [N, Hkv·hd]
  torch::Tensor positions;   ///< [N] int64: where each goes in its sequence
  std::int64_t longest = 0;  ///< above every position
  RotaryTable rotary;        ///< of these positions
};

/// Appends the tokens to the cache; each attends to places 0 … position of its sequence. → [N,
/// H·hd]. No gradient. Throws Error if shapes, dtypes or positions do not fit the cache.
torch::Tensor cached_attention(const NewTokens& tokens, const AttentionShape& shape,
                               LayerCache& cache);

}  // namespace clara
