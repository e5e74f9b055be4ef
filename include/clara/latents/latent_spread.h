// How far the latents of different documents lie apart (numerics §9, latent spread).
#pragma once

#include <torch/types.h>

namespace clara {

/// 1 and 0 mean collapse: constant latents, which minimise the alignment term.
struct LatentSpread {
  double mean_cosine = 0;       ///< of all pairs of documents, vectors [M·D]
  double between_variance = 0;  ///< the share of the variance that lies between documents
};

/// Of latents [N, M, D], any floating type; fewer than two documents count as collapsed.
LatentSpread latent_spread(const torch::Tensor& latents_NMD);

}  // namespace clara
