// One optimizer step (architecture.md, convention 7): totals, micro-batches, sum over ranks, clip,
// finite, update.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "clara/objectives/objective.h"
#include "clara/parallel/communicator.h"
#include "clara/parallel/gradient_sync.h"
#include "clara/trainer/optimizer.h"

namespace clara {

struct StepSettings {
  std::int64_t rows_per_micro_batch = 0;  ///< 0: by tokens
  std::int64_t max_tokens_per_micro_batch = 8192;
  std::uint64_t seed = 0;
};

struct StepResult {
  double loss = 0;                      ///< Σ weight · sum / count
  std::map<std::string, double> terms;  ///< sum / count of each term
  double gradient_norm = 0;             ///< before clipping
  double learning_rate = 0;
  std::int64_t rows = 0;    ///< over all ranks
  std::int64_t tokens = 0;  ///< read by the passes
  std::int64_t answer_tokens = 0;
  std::int64_t micro_batches = 0;  ///< over all ranks
};

/// Groups rows of similar length into micro-batches; the grouping never changes the update.
std::vector<MicroBatch> form_micro_batches(const std::vector<Example>& rows,
                                           const Objective& objective,
                                           const StepSettings& settings);

/// Gradients of `rows` (this rank's; may be none) summed over the ranks into the optimizer's
/// buffer, without update; `sync` belongs to that buffer. Throws NonFiniteError, the same on every
/// rank, if the loss or the norm is not finite: it names the ranks whose own loss was not.
StepResult accumulate_gradients(Objective& objective, AdamW& optimizer, GradientSync& sync,
                                const std::vector<Example>& rows, std::int64_t step,
                                const StepSettings& settings);
/// The same with hooks for this call alone: without overlap.
StepResult accumulate_gradients(Objective& objective, AdamW& optimizer, Communicator& communicator,
                                const std::vector<Example>& rows, std::int64_t step,
                                const StepSettings& settings);

/// accumulate_gradients, clip, update at `learning_rate`.
StepResult train_step(Objective& objective, AdamW& optimizer, GradientSync& sync,
                      const std::vector<Example>& rows, std::int64_t step, double learning_rate,
                      const StepSettings& settings);
StepResult train_step(Objective& objective, AdamW& optimizer, Communicator& communicator,
                      const std::vector<Example>& rows, std::int64_t step, double learning_rate,
                      const StepSettings& settings);

}  // namespace clara
