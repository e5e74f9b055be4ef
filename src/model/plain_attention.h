// Attention in ATen operators alone, for devices that have kernels of their own.
#pragma once

#include "model/attention.h"
#include "model/cached_attention.h"
#include <torch/types.h>

#include "clara/model/packed_sequences.h"
#include "clara/model/rotary.h"

namespace clara {

/// x [T, heads, hd] with its first r dimensions rotated, in float32 arithmetic; dtype as x.
torch::Tensor rotate_heads(const torch::Tensor& x, const RotaryTable& rotary);

/// packed_attention() with the sequences in a rectangle [N, longest]: the padding stands on the
/// right, where causality hides it, so that scaled_dot_product_attention needs no mask and may take
/// its flash kernel.
torch::Tensor padded_attention(const torch::Tensor& q, const torch::Tensor& k,
                               const torch::Tensor& v, const AttentionShape& shape,
                               const PackedLayout& layout, const RotaryTable& rotary,
                               LayerCache* cache);

/// cached_attention() in operators on the whole cache.
torch::Tensor plain_cached_attention(const NewTokens& tokens, const AttentionShape& shape,
                                     LayerCache& cache);

}  // namespace clara
