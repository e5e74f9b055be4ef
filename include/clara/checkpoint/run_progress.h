// trainer_state.json of a checkpoint: how far a run is, and what it runs on.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

namespace clara {

/// The best validation so far.
struct BestCheckpoint {
  std::string metric;
  double value = 0;
  std::int64_t step = 0;
};

/// What a run needs besides tensors to go on exactly. All random streams are functions of (seed,
/// step, …) and the order of the rows is one of (shuffle seed, epoch): step and data position are
/// their state.
struct RunProgress {
  std::int64_t step = 0;         ///< finished optimizer steps
  std::int64_t total_steps = 0;  ///< the schedule's length
  /// Where the next step's rows begin; a checkpoint of an earlier release does not say it.
  std::optional<std::int64_t> epoch, position;
  /// A signal ended the run after this step before its validation.
  bool is_validation_due = false;
  std::optional<BestCheckpoint> best;
  std::map<std::string, std::int64_t> counters;  ///< totals over the run ("cut_documents", …)
  std::string config_yaml;                       ///< the resolved config of the run
  /// Identity of the files that the run reads, by what they are ("data.train.0", …); empty in a
  /// checkpoint of an earlier release.
  std::map<std::string, std::string> inputs;
};

/// Reads the text of trainer_state.json. Throws CheckpointError that names the field.
RunProgress parse_run_progress(const std::string& text);

/// The text that parse_run_progress reads.
std::string render_run_progress(const RunProgress& progress);

}  // namespace clara
