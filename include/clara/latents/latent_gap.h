// The latent information gap (numerics §9): what the generator loses where it gets another row's
// latents.
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

#include "clara/data/example.h"
#include "clara/model/clara_model.h"

namespace clara {

// Shapes: N documents of all rows, M memory tokens, D width.

/// One row: sums over the tokens of its answer, in nats.
struct LatentGapRow {
  std::int64_t num_answer_tokens = 0;
  double own_loss = 0;    ///< with its own documents' latents
  double other_loss = 0;  ///< with other documents' latents
};

struct LatentGap {
  std::vector<LatentGapRow> rows;
  torch::Tensor latents_NMD;  ///< of the rows' documents in order; dtype of the base
  torch::Tensor alignment_N;  ///< float32: their alignment losses
};

/// Rows of scp or tune, at least one, with at least one document each. A document's place is taken
/// by the next one in the whole set whose text is none of the row's own; where there is none, by
/// itself. No gradients.
LatentGap measure_latent_gap(const ClaraModel& model, const std::vector<Example>& rows,
                             std::int64_t max_batch_tokens);

}  // namespace clara
