// Checkpoints of a run: whole or absent, verified before they are used, the last good one never
// deleted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/checkpoint/model_files.h"
#include "clara/config/run_config.h"
#include "clara/model/clara_model.h"

namespace clara {

/// The best validation so far.
struct BestCheckpoint {
  std::string metric;
  double value = 0;
  std::int64_t step = 0;
};

/// What a run needs besides the model's files to go on exactly. All random streams are functions of
/// (seed, step, …), so the step is their state.
struct TrainState {
  std::int64_t step = 0;         ///< finished optimizer steps
  std::int64_t total_steps = 0;  ///< the schedule's length
  std::optional<BestCheckpoint> best;
  std::map<std::string, std::int64_t> counters;    ///< totals over the run ("cut_documents", …)
  std::string config_yaml;                         ///< the resolved config of the run
  std::map<std::string, torch::Tensor> optimizer;  ///< float32, by name
};

/// "step_000100".
std::string checkpoint_name(std::int64_t step);

/// Writes `folder`/<checkpoint_name>: a temporary folder, every file fsynced, manifest.json (sizes
/// and checksums) last, then the rename. Returns the path. Throws CheckpointError; then nothing of
/// the new checkpoint is left.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder, const ClaraModel& model,
                                      const ModelDescription& description, const TrainState& state);

/// Whether every file of a checkpoint is there with the size and the checksum of its manifest; else
/// the reason.
std::optional<std::string> find_checkpoint_damage(const std::filesystem::path& checkpoint);

/// Reads a checkpoint into `model`. Throws CheckpointError where it is damaged or does not fit.
TrainState load_checkpoint(const std::filesystem::path& checkpoint, ClaraModel& model);

/// The resolved config (YAML) of the run that wrote a checkpoint. Throws CheckpointError.
std::string load_checkpoint_config(const std::filesystem::path& checkpoint);

/// Checkpoints in `folder` by their names, the newest first; find_checkpoint_damage tells which of
/// them are whole.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

/// Deletes all but the newest `keep_last` and the one of `best_step`; temporary folders of dead
/// saves go too.
void apply_retention(const std::filesystem::path& folder, std::int32_t keep_last,
                     std::optional<std::int64_t> best_step);

}  // namespace clara
