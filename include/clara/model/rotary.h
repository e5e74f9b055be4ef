// Rotary position tables (numerics §8).
#pragma once

#include <cstdint>

#include <torch/types.h>

#include "clara/model/base_config.h"
#include "clara/model/packed_sequences.h"

namespace clara {

/// Cosines and sines of the tokens of a packed batch; r = rotary dimensions of a head.
struct RotaryTable {
  torch::Tensor cos;  ///< [T, r/2] float32
  torch::Tensor sin;  ///< [T, r/2] float32
};

/// Inverse frequencies [r/2] float32 with the config's scaling, as transformers computes them.
/// `is_long`: those of sequences beyond LongRoPE's limit.
torch::Tensor rotary_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                         bool is_long = false);

/// Table for `positions` [T] int64, on their device. inverse_frequencies [r/2], or [T, r/2] where
/// tokens differ. `scale` multiplies both tables.
RotaryTable rotary_table(const torch::Tensor& inverse_frequencies, const torch::Tensor& positions,
                         double scale = 1.0);

/// The tables of one base model. LongRoPE's long factors apply to a sequence that is itself longer
/// than the original limit, whatever else is in the batch.
class RotaryEmbedding {
 public:
  RotaryEmbedding() = default;
  RotaryEmbedding(const RopeConfig& rope, std::int64_t head_dim, torch::Device device);

  /// Sequences longer than this have other frequencies; the largest int64 where none have.
  std::int64_t limit() const { return limit_; }
  /// Of whole sequences.
  RotaryTable of_sequences(const PackedLayout& layout) const;
  /// Of tokens that end their sequences: positions [N] int64.
  RotaryTable of_last_tokens(const torch::Tensor& positions) const;

 private:
  torch::Tensor short_, long_;  // [r/2]; long_ is undefined without a limit
  double scale_ = 1.0;
  std::int64_t limit_ = 0;
};

}  // namespace clara
