// Saving and loading a checkpoint: a run's model, optimizer and progress, whole or absent.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include <torch/types.h>

#include "clara/checkpoint/checkpoint_folder.h"
#include "clara/checkpoint/model_files.h"
#include "clara/checkpoint/run_progress.h"
#include "clara/model/clara_model.h"

namespace clara {

/// A run's progress with its optimizer.
struct TrainState : RunProgress {
  std::map<std::string, torch::Tensor> optimizer;  ///< float32, by name
};

/// All that a checkpoint holds, in host memory and apart from the model: it may be written while
/// the model trains on.
struct CheckpointSnapshot {
  ModelFiles model;
  TrainState state;
};

/// Copies the tensors of model and state to host memory.
CheckpointSnapshot take_snapshot(const ClaraModel& model, const ModelDescription& description,
                                 const TrainState& state);

/// Writes `folder`/<checkpoint_name>: a temporary folder, every file and folder synced,
/// manifest.json (sizes and checksums) last, then the rename. Returns the path. Throws
/// CheckpointError; then nothing of the new checkpoint is left, and an older one of the same step
/// is as it was.
std::filesystem::path write_checkpoint(const std::filesystem::path& folder,
                                       const CheckpointSnapshot& snapshot);

/// take_snapshot and write_checkpoint.
std::filesystem::path save_checkpoint(const std::filesystem::path& folder, const ClaraModel& model,
                                      const ModelDescription& description, const TrainState& state);

/// Reads a checkpoint into `model`. Throws CheckpointError where it is damaged or does not fit.
TrainState load_checkpoint(const std::filesystem::path& checkpoint, ClaraModel& model);

/// The progress of a checkpoint alone, not verified by its manifest. Throws CheckpointError.
RunProgress load_run_progress(const std::filesystem::path& checkpoint);

}  // namespace clara
