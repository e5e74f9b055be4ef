// Scores of the next token, as decoding needs them.
#pragma once

#include <torch/types.h>

namespace clara {

/// states [N, D] of the last positions, head [V, D], one dtype → logits [N, V]. No gradient.
torch::Tensor next_token_logits(const torch::Tensor& states_ND, const torch::Tensor& head_VD);

}  // namespace clara
