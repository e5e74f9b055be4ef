// Residual addition and RMSNorm in one node (numerics §8: the norm in float32, as transformers
// does).
#pragma once

#include <utility>

#include <torch/types.h>

namespace clara {

/// residual = x + delta (delta may be undefined), normed = weight ∘ residual / rms(residual). x,
/// delta [T, D]; weight [D].
std::pair<torch::Tensor, torch::Tensor> add_rms_norm(const torch::Tensor& x,
                                                     const torch::Tensor& delta,
                                                     const torch::Tensor& weight, double eps);

}  // namespace clara
