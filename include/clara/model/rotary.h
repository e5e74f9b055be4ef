// Rotary position tables (numerics §8).
#pragma once

#include <cstdint>

#include <torch/types.h>

#include "clara/model/base_config.h"

namespace clara {

/// Cosines and sines of the tokens of a packed batch.
struct RotaryTable {
  torch::Tensor cos;  ///< [T, hd/2] float32
  torch::Tensor sin;  ///< [T, hd/2] float32
};

/// Inverse frequencies [hd/2] float32 with the config's scaling, as transformers computes them.
torch::Tensor rotary_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim);

/// Table for `positions` [T] int64, on their device.
RotaryTable rotary_table(const torch::Tensor& inverse_frequencies, const torch::Tensor& positions);

}  // namespace clara
