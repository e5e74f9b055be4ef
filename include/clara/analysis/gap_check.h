// How much of the documents is in the latents of a checkpoint, and how sure that is: answer loss
// and latent information gap (numerics §9) on held-out rows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/data/row_source.h"
#include "clara/latents/latent_gap.h"
#include "clara/metrics/bootstrap.h"

namespace clara {

/// One checkpoint. Losses are in nats a token, with 95 % intervals (percentile bootstrap over
/// rows).
struct GapCheck {
  std::string checkpoint;
  std::int32_t compression_rate = 0;
  std::int32_t num_memory_tokens = 0;
  std::vector<std::string> places;  ///< "file:line" of each row
  std::vector<LatentGapRow> rows;
  MeanInterval own_loss;    ///< with the row's own latents
  MeanInterval other_loss;  ///< with other documents' latents
  MeanInterval gap;         ///< other − own
};

/// Records of scp or tune; of a question's documents the first that the checkpoint was trained to
/// read. Throws ConfigError for a checkpoint that was tuned on text, DataError with the row's place
/// for a record that is wrong, and where no two rows differ in their documents.
GapCheck check_gap(const OpenedModel& opened, const std::string& name,
                   const std::vector<RawRow>& rows, std::int64_t max_batch_tokens);

}  // namespace clara
