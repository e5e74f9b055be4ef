// Scores, hard and straight-through selection.
#include "clara/model/selection.h"

#include <algorithm>
#include <limits>

#include <torch/torch.h>

namespace clara {

torch::Tensor cosine_scores(const torch::Tensor& question, const torch::Tensor& documents) {
  return torch::cosine_similarity(question.to(torch::kFloat32).unsqueeze(0),
                                  documents.to(torch::kFloat32), /*dim=*/1);
}

torch::Tensor topk_indices(const torch::Tensor& scores_K, std::int64_t count) {
  const auto sorted =
      torch::sort(scores_K.detach(), /*stable=*/true, /*dim=*/-1, /*descending=*/true);
  return std::get<1>(sorted).narrow(0, 0, std::min(count, scores_K.size(0)));
}

StraightThroughSelection straight_through_topk(const torch::Tensor& scores_K,
                                               std::int64_t num_selected, double temperature,
                                               TopkMask mask) {
  const torch::Tensor logits = scores_K / temperature;
  const torch::Tensor indices = topk_indices(logits, num_selected);
  const torch::Tensor hard = torch::one_hot(indices, scores_K.size(0)).to(torch::kFloat32);
  const torch::Tensor taken = hard.cumsum(0) - hard;  // slot j: the documents chosen before it
  const torch::Tensor penalty = mask == TopkMask::kLeaky
                                    ? torch::log(1 - taken + 1e-8)
                                    : torch::zeros_like(taken).masked_fill_(
                                          taken > 0, -std::numeric_limits<double>::infinity());
  const torch::Tensor soft = torch::softmax(logits.unsqueeze(0) + penalty, 1);
  return {hard + (soft - soft.detach()), indices};
}

torch::Tensor retrieval_loss(const torch::Tensor& scores_K, const torch::Tensor& positives,
                             double temperature) {
  const torch::Tensor logits = scores_K / temperature;
  return torch::logsumexp(logits, {0}) - torch::logsumexp(logits.index_select(0, positives), {0});
}

}  // namespace clara
