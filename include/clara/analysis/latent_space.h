// Where documents' latents lie beside the mean hidden states of their texts (paper, the alignment
// term and its t-SNE picture).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/checkpoint/open_model.h"
#include "clara/latents/latent_spread.h"

namespace clara {

// Shapes: N documents, D width.

struct LatentSpace {
  torch::Tensor latent_means_ND;  ///< mean over the M memory tokens; float32, CPU
  torch::Tensor text_means_ND;    ///< mean over the text's hidden states, same pass; float32, CPU
  double alignment = 0;           ///< mean over documents and D of their squared difference
  double cosine_own_text = 0;     ///< mean cosine of a document's two vectors
  double cosine_other_text = 0;   ///< mean cosine with the other documents' texts
  double nearest_is_own = 0;      ///< share whose nearest text (cosine) is their own
  LatentSpread spread;            ///< of the latents [N, M, D]
};

/// At least two documents, none empty (DataError). Long ones are cut as in training.
LatentSpace measure_latent_space(const OpenedModel& opened,
                                 const std::vector<std::string>& documents,
                                 std::int64_t max_batch_tokens);

/// Writes "latents" and "texts" [N, D] for scripts/plot_analysis.py.
void save_latent_space(const std::filesystem::path& path, const LatentSpace& space);

}  // namespace clara
