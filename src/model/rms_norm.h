// Residual addition and RMSNorm in one node (numerics §8: the norm in float32, as transformers
// does).
#pragma once

#include <torch/types.h>

namespace clara {

struct NormedResidual {
  torch::Tensor residual;  ///< [T, D]
  torch::Tensor normed;    ///< [T, D]
  torch::Tensor rstd;      ///< [T] float32, 1 / rms(residual); carries no gradient
};

/// residual = x + delta (delta may be undefined), normed = weight ∘ residual / rms(residual). x,
/// delta [T, D]; weight [D].
NormedResidual add_rms_norm(const torch::Tensor& x, const torch::Tensor& delta,
                            const torch::Tensor& weight, double eps);

/// `normed` again, to the same bits, from the rest; without gradient.
torch::Tensor normed_again(const torch::Tensor& residual, const torch::Tensor& rstd,
                           const torch::Tensor& weight);

}  // namespace clara
