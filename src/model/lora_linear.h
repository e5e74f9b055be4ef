// Frozen linear layers with LoRA that share one input (numerics §1): y_i = x W_iᵀ (+ b_i) + (α/R) ·
// dropout(x) A_iᵀ B_iᵀ.
#pragma once

#include <utility>
#include <vector>

#include "model/dropout.h"
#include <torch/types.h>

#include "clara/model/lora.h"

namespace clara {

/// A frozen linear layer and its adapter, if it has one.
struct AdaptedLinear {
  torch::Tensor weight;  ///< [out, in], compute dtype, no gradient
  torch::Tensor bias;    ///< [out] or undefined
  LoraPair lora;         ///< undefined where the layer is not adapted; any float dtype
};

/// The input x [T, in] of a group of layers. Where x is cheap to compute again, backward keeps what
/// it came from instead, which costs nothing when another node keeps the same tensors.
struct LinearInput {
  using Again = torch::Tensor (*)(const std::vector<torch::Tensor>& sources);

  LinearInput(torch::Tensor kept) : x(std::move(kept)) {}
  LinearInput(torch::Tensor value, std::vector<torch::Tensor> made_from, Again make_again)
      : x(std::move(value)), sources(std::move(made_from)), again(make_again) {}

  torch::Tensor x;
  std::vector<torch::Tensor> sources;  ///< empty: x itself is kept
  Again again = nullptr;               ///< x from its sources, to the same bits
};

/// Results [T, out_i] of up to three layers over the same x [T, in]. All of them share one dropout
/// mask, and one product computes all their A. Saves x (or its sources) and the rank-R activations;
/// gradients reach x, A and B only.
std::vector<torch::Tensor> lora_linear(const LinearInput& input, std::vector<AdaptedLinear> layers,
                                       double scale, const DropoutSpec& dropout);

}  // namespace clara
