// Frozen linear layers with LoRA that share one input (numerics §1): y_i = x W_iᵀ (+ b_i) + (α/R) ·
// dropout(x) A_iᵀ B_iᵀ.
#pragma once

#include <vector>

#include "model/dropout.h"
#include <torch/types.h>

#include "clara/model/lora.h"

namespace clara {

/// A frozen linear layer and its adapter, if it has one.
struct AdaptedLinear {
  torch::Tensor weight;  ///< [out, in], compute dtype, no gradient
  torch::Tensor bias;    ///< [out] or undefined
  LoraPair lora;         ///< float32 masters; undefined where the layer is not adapted
};

/// Results [T, out_i] of up to three layers over the same x [T, in]. All of them share one dropout
/// mask, and one product computes all their A. Saves x and the rank-R activations; gradients reach
/// x, A and B only.
std::vector<torch::Tensor> lora_linear(const torch::Tensor& x, std::vector<AdaptedLinear> layers,
                                       double scale, const DropoutSpec& dropout);

/// The same for the newest token of each sequence, x [N, in]: no dropout, no gradient, and computed
/// as few rows (few_rows_product.h), whose rounding is not that of the passes over whole sequences.
std::vector<torch::Tensor> decoding_linear(const torch::Tensor& x,
                                           const std::vector<AdaptedLinear>& layers, double scale);

}  // namespace clara
