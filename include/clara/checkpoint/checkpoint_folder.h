// The folder checkpoints/ of a run: names, which of them are sound, which of them stay.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace clara {

/// Temporary folders of saves and deletions begin with this; no list shows them.
inline constexpr const char* kTemporaryPrefix = ".tmp_";

/// "step_000100".
std::string checkpoint_name(std::int64_t step);

/// The step of a checkpoint's folder, by its name. Throws CheckpointError for another name.
std::int64_t checkpoint_step(const std::filesystem::path& checkpoint);

/// Whether every file of a checkpoint is there with the size and the checksum of its manifest; else
/// the reason.
std::optional<std::string> find_checkpoint_damage(const std::filesystem::path& checkpoint);

/// Checkpoints in `folder` by their names, the newest first; find_checkpoint_damage tells which of
/// them are whole.
std::vector<std::filesystem::path> list_checkpoints(const std::filesystem::path& folder);

/// Deletes all but the newest `keep_last` sound ones and that of `best_step`; temporary folders of
/// dead saves go too. Each one that is kept is verified before anything is deleted: where none is
/// sound, nothing is.
void apply_retention(const std::filesystem::path& folder, std::int32_t keep_last,
                     std::optional<std::int64_t> best_step);

/// Renames the checkpoints after `step` to superseded_<name>, so that a run that goes on from
/// `step` cannot be mixed up with the one that wrote them. Returns the new paths. Throws
/// CheckpointError.
std::vector<std::filesystem::path> set_later_checkpoints_aside(const std::filesystem::path& folder,
                                                               std::int64_t step);

}  // namespace clara
