// Retrieval scores and the straight-through differentiable top-k (numerics §6; paper, Algorithm 1).
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace clara {

enum class TopkMask {
  kLeaky,  ///< log(1 − taken + 1e-8): Algorithm 1
  kExact,  ///< −∞: the paper's equation
};

/// K candidates of one question, S = min(num_selected, K) chosen.
struct StraightThroughSelection {
  torch::Tensor weights_SK;  ///< float32: forward one-hot rows, gradient that of the soft
                             ///< distribution of each slot
  torch::Tensor indices_S;   ///< int64, in descending order of score, ties to the lower index
};

/// Cosine of the question's vector [M·D] with K flattened documents [K, M·D] → [K] float32.
torch::Tensor cosine_scores(const torch::Tensor& question, const torch::Tensor& documents);

/// Indices [min(count, K)] of the largest scores [K], descending, ties to the lower index.
torch::Tensor topk_indices(const torch::Tensor& scores_K, std::int64_t count);

/// scores [K] float32 → W and indices. W = H + (P − stopgrad(P)).
StraightThroughSelection straight_through_topk(const torch::Tensor& scores_K,
                                               std::int64_t num_selected, double temperature,
                                               TopkMask mask);

/// Supervised retriever loss of one question: logsumexp over all − logsumexp over `positives` [P]
/// int64 of s/τ.
torch::Tensor retrieval_loss(const torch::Tensor& scores_K, const torch::Tensor& positives,
                             double temperature);

}  // namespace clara
