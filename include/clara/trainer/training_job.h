// A stage from its config: opens everything, checks it, trains, leaves a run folder (marian's
// Train::run in our words).
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "clara/config/run_config.h"
#include "clara/parallel/communicator.h"
#include "clara/trainer/train_loop.h"

namespace clara {

struct JobOptions {
  /// "never": the run folder must not hold a run. "auto": go on from its newest sound checkpoint,
  /// or start. Else a checkpoint.
  std::string resume = "never";
  std::function<bool()> should_stop;
  std::int64_t profile_steps = 0;  ///< as TrainLoopInputs::profile_steps
  /// Go on from a checkpoint although settings or files have changed in ways that change the
  /// result.
  bool allow_changes = false;
  /// The ranks that train together; null: this process alone. Rank 0 writes the run folder, and its
  /// choice of a checkpoint counts.
  Communicator* communicator = nullptr;
};

/// What a dry run found.
struct DryRunReport {
  std::int64_t num_rows = 0;
  std::int64_t num_validation_rows = 0;
  std::int64_t num_bad_rows = 0;
  std::int64_t num_bad_validation_rows = 0;
  std::vector<std::string>
      bad_rows;  ///< messages, of validation rows first, at most 100 of training
  std::int64_t num_cut_documents = 0;
  std::int64_t num_cut_questions = 0;
  std::int64_t num_cut_answers = 0;
  std::int64_t num_dropped_documents = 0;
  std::int64_t longest_document_tokens = 0;  ///< memory tokens included
  std::int64_t longest_sequence_tokens = 0;
  std::int64_t total_steps = 0;
  double loss = 0;  ///< of the longest row, before any update
};

/// Trains. Throws ConfigError, DataError, CheckpointError, NonFiniteError, DistributedError;
/// nothing is written before all inputs are checked. An error on one rank ends the others with a
/// DistributedError that holds its message.
TrainLoopResult run_training_job(const RunConfig& config, const JobOptions& options,
                                 TrainObserver& observer);

/// Opens everything, tokenises every record, runs one forward pass over the longest row; writes
/// nothing.
DryRunReport dry_run(const RunConfig& config, TrainObserver& observer);

}  // namespace clara
