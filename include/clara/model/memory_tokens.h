// The rows that CLaRa adds to the embedding and to the output head (numerics §2).
#pragma once

#include <cstdint>
#include <string>

#include <torch/types.h>

#include "clara/model/base_llm.h"

namespace clara {

/// Rows V … V+M+2 of the vocabulary. Only the M memory rows are ever trained.
struct MemoryTokens {
  torch::Tensor memory_rows;  ///< [M, D] float32, a leaf
  torch::Tensor fixed_rows;   ///< [3, D] float32: <AE>, <ENC>, <SEP>
  torch::Tensor head_rows;    ///< untied models: [M+3, D] float32, not trained; tied: undefined

  std::int64_t num_memory() const { return memory_rows.size(0); }
  /// [M+3, D] float32, differentiable in memory_rows.
  torch::Tensor embedding_rows() const;
  /// The head's added rows [M+3, D] float32: the embedding rows themselves where tied.
  torch::Tensor output_rows() const;
};

/// `memory_init`: "noise" (mean of the base rows plus 0.1 × each column's deviation of normal
/// noise) or "tokens" (rows of M ordinary tokens drawn from the seed). Fixed rows are always drawn
/// as noise. Throws ConfigError for another name.
MemoryTokens init_memory_tokens(const BaseLlm& base, std::int64_t num_memory,
                                const std::string& memory_init, std::uint64_t seed);

}  // namespace clara
