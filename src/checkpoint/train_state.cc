// Saving by rename, loading by manifest.
#include "clara/checkpoint/train_state.h"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <torch/torch.h>

#include "clara/checkpoint/manifest.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr const char* kProgressName = "trainer_state.json";
constexpr const char* kOptimizerName = "optimizer.safetensors";

void sync_folders(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) sync_path(entry.path());
  }
  sync_path(folder);
}

/// Renames `temporary` to `target`. A checkpoint of the same step (of a run that was resumed before
/// it) ends up in `temporary`: at every moment one of the two is whole and under its name.
void put_in_place(const fs::path& temporary, const fs::path& target) {
  if (!fs::exists(target)) {
    fs::rename(temporary, target);
    return;
  }
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, target.c_str(), RENAME_EXCHANGE) == 0)
    return;
  if (errno != EINVAL && errno != ENOSYS)
    throw fs::filesystem_error("rename", temporary, target,
                               std::error_code(errno, std::generic_category()));
  // Some network file systems cannot exchange: two renames, and the old one back if the second
  // fails.
  const fs::path aside = temporary.string() + "_replaced";
  fs::remove_all(aside);
  fs::rename(target, aside);
  std::error_code error;
  fs::rename(temporary, target, error);
  std::error_code ignored;
  if (error) {
    fs::rename(aside, target, ignored);
    throw fs::filesystem_error("rename", temporary, target, error);
  }
  fs::remove_all(aside, ignored);
}

/// Copies that later updates of the originals do not reach.
void detach_to_host(std::map<std::string, torch::Tensor>& tensors) {
  for (auto& [name, tensor] : tensors) {
    tensor = tensor.detach().to(torch::kCPU, /*non_blocking=*/false, /*copy=*/true).contiguous();
  }
}

}  // namespace

CheckpointSnapshot take_snapshot(const ClaraModel& model, const ModelDescription& description,
                                 const TrainState& state) {
  const torch::NoGradGuard no_grad;
  CheckpointSnapshot snapshot{describe_model_files(model, description), state};
  for (auto& [path, file] : snapshot.model.tensors) detach_to_host(file.tensors);
  detach_to_host(snapshot.state.optimizer);
  return snapshot;
}

fs::path write_checkpoint(const fs::path& folder, const CheckpointSnapshot& snapshot) {
  const std::string name = checkpoint_name(snapshot.state.step);
  fs::path target = folder / name;
  const fs::path temporary = folder / (kTemporaryPrefix + name);
  try {
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    write_model_files(temporary, snapshot.model);
    save_tensors(temporary / kOptimizerName, snapshot.state.optimizer);
    write_file_atomically(temporary / kProgressName, render_run_progress(snapshot.state));
    sync_folders(temporary);
    write_manifest(temporary);
    put_in_place(temporary, target);
    sync_path(folder);
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw CheckpointError(target.string() + ": the checkpoint could not be saved: " + error.what());
  }
  std::error_code ignored;
  fs::remove_all(temporary, ignored);  // the one that was replaced
  return target;
}

fs::path save_checkpoint(const fs::path& folder, const ClaraModel& model,
                         const ModelDescription& description, const TrainState& state) {
  return write_checkpoint(folder, take_snapshot(model, description, state));
}

TrainState load_checkpoint(const fs::path& checkpoint, ClaraModel& model) {
  if (const auto damage = find_checkpoint_damage(checkpoint)) {
    throw CheckpointError(checkpoint.string() + ": this checkpoint is damaged: " + *damage +
                          "; use an earlier one, or --resume auto");
  }
  TrainState state{load_run_progress(checkpoint), {}};
  load_model_files(checkpoint, model);
  state.optimizer = load_tensors(checkpoint / kOptimizerName);
  return state;
}

RunProgress load_run_progress(const fs::path& checkpoint) {
  try {
    return parse_run_progress(read_file(checkpoint / kProgressName));
  } catch (const Error& error) {
    throw CheckpointError(checkpoint.string() + ": " + error.what());
  }
}

}  // namespace clara
