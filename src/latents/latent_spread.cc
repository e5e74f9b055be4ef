// Cosines of all pairs by their sum; variance between documents.
#include "clara/latents/latent_spread.h"

#include <torch/torch.h>

namespace clara {

LatentSpread latent_spread(const torch::Tensor& latents_NMD) {
  const torch::Tensor vectors = latents_NMD.flatten(1).to(torch::kFloat32);
  const std::int64_t num = vectors.size(0);
  if (num < 2) return {1.0, 0.0};
  const torch::Tensor unit = torch::nn::functional::normalize(
      vectors, torch::nn::functional::NormalizeFuncOptions().dim(1));
  // The sum over all pairs is |Σ u|² − N.
  const double pair_sum = unit.sum(0).square().sum().item<double>() - static_cast<double>(num);
  const torch::Tensor memory = latents_NMD.to(torch::kFloat32);
  const double total =
      (memory - memory.mean(torch::IntArrayRef{0, 1}, true)).square().mean().item<double>();
  const double between = (memory - memory.mean(0, true)).square().mean().item<double>();
  return {pair_sum / static_cast<double>(num * (num - 1)), total > 0 ? between / total : 0.0};
}

}  // namespace clara
