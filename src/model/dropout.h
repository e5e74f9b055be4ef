// Dropout from a seed on any device: the mask is drawn again in backward instead of being stored
// (numerics §1).
#pragma once

#include "model/cpu_kernels.h"
#include <torch/types.h>

namespace clara {

using DropoutSpec = cpu::DropoutSpec;

/// x ∘ mask / (1 − p); x itself where dropout is off.
torch::Tensor apply_dropout(const torch::Tensor& x, const DropoutSpec& spec);
/// target += grad ∘ mask / (1 − p), in place.
void accumulate_dropout(torch::Tensor& target, const torch::Tensor& grad, const DropoutSpec& spec);

}  // namespace clara
