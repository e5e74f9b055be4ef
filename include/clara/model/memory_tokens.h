// The rows that CLaRa adds to the embedding and to the output head (numerics §2).
#pragma once

#include <cstdint>
#include <string>

#include <torch/types.h>

#include "clara/model/base_llm.h"

namespace clara {

/// Rows V … V+M+2 of the vocabulary. Only the M memory rows are ever trained.
struct MemoryTokens {
  torch::Tensor memory_rows;  ///< [M, D] float32, a leaf; [1, D] where the positions share a row
  torch::Tensor fixed_rows;   ///< [3, D] float32: <AE>, <ENC>, <SEP>
  /// Untied models: a row for each row above, float32, not trained; tied: undefined.
  torch::Tensor head_rows;
  /// M where all positions share one row (official checkpoints with `different_mem_tokens: false`);
  /// 0: each has a row of its own.
  std::int64_t num_sharing = 0;

  std::int64_t num_memory() const { return num_sharing > 0 ? num_sharing : memory_rows.size(0); }
  /// [M+3, D] float32, differentiable in memory_rows.
  torch::Tensor embedding_rows() const;
  /// The head's added rows [M+3, D] float32: the embedding rows themselves where tied. A shared row
  /// stands there once ([4, D]), as it is one word of the softmax; added tokens are no targets.
  torch::Tensor output_rows() const;
};

/// Gives all of `num_memory` positions one row of zeros, to be filled; the head's rows become as
/// many.
void share_memory_row(MemoryTokens& tokens, std::int64_t num_memory);

/// `memory_init`: "noise" (mean of the base rows plus 0.1 × each column's deviation of normal
/// noise) or "tokens" (rows of M ordinary tokens drawn from the seed). Fixed rows are always drawn
/// as noise. Throws ConfigError for another name.
MemoryTokens init_memory_tokens(const BaseLlm& base, std::int64_t num_memory,
                                const std::string& memory_init, std::uint64_t seed);

}  // namespace clara
