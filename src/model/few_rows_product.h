// The product of a few rows with a weight matrix, as decoding has it: the time is that of reading
// the weights once. GEMM libraries copy them into their own order first, which costs more than the
// product itself.
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace clara {

/// Above this many rows the library's product is faster (measured in float32).
inline constexpr std::int64_t kFewRows = 16;

/// x Wᵀ. x [m, in], w [out, in], one dtype → [m, out]. Up to kFewRows rows of float32 or bfloat16
/// on the CPU are computed here, in float32, everything else by torch::mm.
torch::Tensor frozen_product(const torch::Tensor& x, const torch::Tensor& w);

/// y += scale · x Wᵀ, by the same rule. y [m, out].
void add_frozen_product(torch::Tensor& y, const torch::Tensor& x, const torch::Tensor& w,
                        double scale);

}  // namespace clara
