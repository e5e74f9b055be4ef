// silu(gate) ∘ up in one node.
#pragma once

#include <torch/types.h>

namespace clara {

/// gate, up [T, F] → [T, F].
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);

}  // namespace clara
