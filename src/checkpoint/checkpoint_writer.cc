// One background save at a time.
#include "clara/checkpoint/checkpoint_writer.h"

#include <chrono>
#include <memory>
#include <system_error>
#include <utility>

namespace clara {
namespace {

std::optional<SaveFailure> write_and_retain(const std::filesystem::path& folder,
                                            const CheckpointSnapshot& snapshot,
                                            std::int32_t keep_last) {
  const TrainState& state = snapshot.state;
  try {
    write_checkpoint(folder, snapshot);
    apply_retention(folder, keep_last,
                    state.best ? std::optional<std::int64_t>(state.best->step) : std::nullopt);
  } catch (const std::exception& error) {
    return SaveFailure{state.step, error.what()};
  }
  return std::nullopt;
}

}  // namespace

void CheckpointWriter::save(const ClaraModel& model, const ModelDescription& description,
                            const TrainState& state) {
  wait();
  auto snapshot = std::make_shared<CheckpointSnapshot>(take_snapshot(model, description, state));
  try {
    pending_ = std::async(std::launch::async, [folder = folder_, keep_last = keep_last_,
                                               snapshot = std::move(snapshot)]() mutable {
      std::optional<SaveFailure> failure = write_and_retain(folder, *snapshot, keep_last);
      snapshot.reset();  // now, not when its result is asked for: one copy is held at most
      return failure;
    });
  } catch (const std::system_error& error) {
    failures_.push_back({state.step, std::string("no thread for the save: ") + error.what()});
  }
}

void CheckpointWriter::wait() {
  if (pending_.valid()) collect();
}

std::optional<SaveFailure> CheckpointWriter::take_failure() {
  if (pending_.valid() && pending_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)
    collect();
  if (failures_.empty()) return std::nullopt;
  SaveFailure failure = std::move(failures_.front());
  failures_.pop_front();
  return failure;
}

void CheckpointWriter::collect() {
  std::optional<SaveFailure> failure = pending_.get();
  if (failure) failures_.push_back(std::move(*failure));
}

}  // namespace clara
