// Cross-entropy at answer positions, in chunks whose gradients are computed in the forward pass
// (numerics §5).
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace clara {

struct CrossEntropyResult {
  torch::Tensor sum;  ///< float32 scalar, differentiable in hidden and added_rows
  torch::Tensor nll;  ///< [A] float32, detached: each answer token's loss
};

/// hidden [A, D] predicts targets [A] int64 over the V base rows `head` [V, D] (frozen, dtype of
/// hidden) and the added rows `added_rows` [E, D] float32. Logits exist for at most `chunk`
/// positions at a time.
CrossEntropyResult chunked_cross_entropy(const torch::Tensor& hidden, const torch::Tensor& head,
                                         const torch::Tensor& added_rows,
                                         const torch::Tensor& targets, std::int64_t chunk = 256);

/// Logits [A, V + E] float32, for inspection of a few positions.
torch::Tensor answer_logits(const torch::Tensor& hidden, const torch::Tensor& head,
                            const torch::Tensor& added_rows);

}  // namespace clara
