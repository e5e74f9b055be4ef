// The loop that all stages share: one objective, one source of rows, one run folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clara/checkpoint/train_state.h"
#include "clara/config/run_config.h"
#include "clara/objectives/objective.h"
#include "clara/parallel/communicator.h"
#include "clara/trainer/metrics_log.h"
#include "clara/trainer/train_step.h"
#include "clara/trainer/training_data.h"

namespace clara {

/// What a run tells whoever watches it (a progress bar, a log). Default: nothing.
class TrainObserver {
 public:
  TrainObserver() = default;
  TrainObserver(const TrainObserver&) = delete;
  TrainObserver& operator=(const TrainObserver&) = delete;
  virtual ~TrainObserver() = default;
  /// After every update; `step` counts finished updates. `metrics` is the row of metrics.jsonl.
  virtual void on_step(std::int64_t /*step*/, std::int64_t /*total_steps*/,
                       const MetricRow& /*metrics*/) {}
  virtual void on_validation(std::int64_t /*step*/, const MetricRow& /*metrics*/) {}
  /// The error that is about to end the run, for a log; whoever called train_loop shows it.
  virtual void on_error(const std::string& /*message*/) {}
  virtual void on_message(const std::string& /*message*/) {}
};

struct TrainLoopInputs {
  ClaraModel& model;
  Objective& objective;
  TrainingData& data;
  const std::vector<Example>& validation;  ///< may be empty
  Communicator& communicator;
  ModelDescription description;  ///< written into checkpoints and final/; its step is filled in
  TrainerConfig trainer;
  OutputConfig output;
  LoggingConfig logging;
  std::string config_yaml;                      ///< the resolved config, kept in checkpoints
  std::optional<std::filesystem::path> resume;  ///< a checkpoint of this run to go on from
  /// Asked after every step: true on any rank saves and ends the loop on all (a signal handler of
  /// the program sets it).
  std::function<bool()> should_stop;
  /// Steps to profile into <output.folder>/profile; 0: none.
  std::int64_t profile_steps = 0;
  /// Identity of the files that the run reads, kept in checkpoints (RunProgress::inputs).
  std::map<std::string, std::string> input_fingerprints = {};
  std::int64_t bucket_bytes = std::int64_t{16} << 20;  ///< gradients are summed in such pieces
  /// Called by every rank with its rows of a step, before the step: may use collectives.
  std::function<void(const std::vector<Example>&)> prepare_rows = {};
  /// Seconds waited so far for stored latents; each step's share is in its metrics.
  std::function<double()> latent_store_seconds = {};
};

struct TrainLoopResult {
  std::int64_t step = 0;
  bool stopped = false;  ///< should_stop ended it before its last step
  MetricRow last_validation;
};

/// Steps of the whole run: epochs · ⌈rows / rows-a-step⌉, at most max_steps where that is set.
std::int64_t count_total_steps(const TrainerConfig& config, std::int64_t rows_per_epoch);

/// Trains to the end or to should_stop. Writes metrics, checkpoints/ and, at the end, final/
/// (without tokenizer). Throws what the pieces throw; a DataError or NonFiniteError in the middle
/// leaves a checkpoint of the last finished step.
TrainLoopResult train_loop(const TrainLoopInputs& inputs, TrainObserver& observer);

}  // namespace clara
