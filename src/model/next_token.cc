// The output head on a few rows.
#include "clara/model/next_token.h"

#include "model/few_rows_product.h"
#include <torch/torch.h>

namespace clara {

torch::Tensor next_token_logits(const torch::Tensor& states_ND, const torch::Tensor& head_VD) {
  const torch::NoGradGuard no_grad;
  return frozen_product(states_ND, head_VD);
}

}  // namespace clara
