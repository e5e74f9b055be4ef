// Products of a few rows with weight matrices, as decoding has them: the time is that of reading
// the weights once. GEMM libraries copy them into their own order first, which costs more than the
// product itself.
#pragma once

#include <cstdint>
#include <vector>

#include "model/lora_linear.h"
#include <torch/types.h>

namespace clara {

/// Above this many rows the library's product is faster (measured in float32).
inline constexpr std::int64_t kFewRows = 16;

/// x Wᵀ. x [m, in], w [out, in], one dtype → [m, out]. Up to kFewRows rows of float32 or bfloat16
/// on the CPU are computed here, in float32, everything else by torch::mm.
torch::Tensor frozen_product(const torch::Tensor& x, const torch::Tensor& w);

/// What lora_linear computes, for the newest token of each sequence: x [m, in] → [m, out_i]. No
/// dropout, no gradient. Few rows, by the same rule, are computed here, all layers in one go and
/// rounded once at the end: not the rounding of the passes over whole sequences.
std::vector<torch::Tensor> decoding_linear(const torch::Tensor& x,
                                           const std::vector<AdaptedLinear>& layers, double scale);

}  // namespace clara
