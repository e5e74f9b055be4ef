// Checkpoints written beside the training: it waits for a copy to host memory, not for the disk.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <future>
#include <optional>
#include <string>

#include "clara/checkpoint/train_state.h"

namespace clara {

/// A save that failed.
struct SaveFailure {
  std::int64_t step = 0;
  std::string message;
};

/// Writes one checkpoint at a time on a thread of its own and applies the retention after it. Its
/// functions are called from one thread. The destructor waits for the save under way, so that
/// whatever ends a run, a checkpoint that was begun is finished.
class CheckpointWriter {
 public:
  CheckpointWriter(std::filesystem::path folder, std::int32_t keep_last)
      : folder_(std::move(folder)), keep_last_(keep_last) {}
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  ~CheckpointWriter() = default;

  const std::filesystem::path& folder() const { return folder_; }

  /// Copies model and state to host memory and begins to write them. While an earlier save is under
  /// way it waits for that first: no more than one copy is held. A failure of the earlier one is
  /// kept for take_failure.
  void save(const ClaraModel& model, const ModelDescription& description, const TrainState& state);

  /// Waits for the save under way.
  void wait();

  /// The oldest failure that was not taken yet, of the saves that have ended; does not wait.
  std::optional<SaveFailure> take_failure();

 private:
  void collect();

  std::filesystem::path folder_;
  std::int32_t keep_last_;
  std::deque<SaveFailure> failures_;
  std::future<std::optional<SaveFailure>> pending_;  // the last member: its destructor waits
};

}  // namespace clara
