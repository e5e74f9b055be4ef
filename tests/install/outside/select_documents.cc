// Special tokens of the torch-free part, and a selection whose gradient reaches every candidate.
#include <iostream>

#include <torch/torch.h>

#include "clara/model/selection.h"
#include "clara/tokenizer/special_tokens.h"

int main() {
  const clara::SpecialTokens tokens{.base_vocab_rows = 1000, .num_memory = 4};
  std::cout << tokens.name(tokens.sep()) << " " << tokens.sep() << "\n";

  const torch::Tensor scores = torch::tensor({0.1F, 0.9F, 0.5F}).requires_grad_(true);
  const clara::StraightThroughSelection selection =
      clara::straight_through_topk(scores, 2, 0.5, clara::TopkMask::kLeaky);
  const torch::Tensor value = torch::tensor({{1.0F, 2.0F, 4.0F}});
  (selection.weights_SK * value).sum().backward();
  std::cout << "chosen " << selection.indices_S[0].item<std::int64_t>() << " "
            << selection.indices_S[1].item<std::int64_t>() << "\n";
  std::cout << "candidates with gradient " << scores.grad().ne(0).sum().item<std::int64_t>()
            << "\n";
}
