// Listing, verifying and deleting checkpoints.
#include "clara/checkpoint/checkpoint_folder.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "clara/checkpoint/manifest.h"
#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr const char* kNamePrefix = "step_";
constexpr std::size_t kNamePrefixLength = 5;
constexpr std::size_t kMaxDigits = 18;  // of a step that fits 64 bits

std::optional<std::int64_t> step_of_name(const std::string& name) {
  if (!name.starts_with(kNamePrefix)) return std::nullopt;
  const std::string digits = name.substr(kNamePrefixLength);
  if (digits.empty() || digits.size() > kMaxDigits ||
      digits.find_first_not_of("0123456789") != std::string::npos) {
    return std::nullopt;
  }
  return std::stoll(digits);
}

/// A deletion that is interrupted must not leave half a checkpoint under its name.
void delete_checkpoint(const fs::path& checkpoint) {
  const fs::path doomed =
      checkpoint.parent_path() / (kTemporaryPrefix + checkpoint.filename().string() + "_deleted");
  std::error_code ignored;
  fs::remove_all(doomed, ignored);
  std::error_code error;
  fs::rename(checkpoint, doomed, error);
  fs::remove_all(error ? checkpoint : doomed, ignored);
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%06" PRId64, step);
  return name;
}

std::int64_t checkpoint_step(const fs::path& checkpoint) {
  // "step_000010/" has an empty file name.
  const fs::path path = checkpoint.has_filename() ? checkpoint : checkpoint.parent_path();
  const std::optional<std::int64_t> step = step_of_name(path.filename().string());
  if (!step) {
    throw CheckpointError(checkpoint.string() +
                          ": expected a checkpoint's folder (checkpoints/step_000100)");
  }
  return *step;
}

std::optional<std::string> find_checkpoint_damage(const fs::path& checkpoint) {
  return find_manifest_damage(checkpoint);
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.is_directory(error) && step_of_name(entry.path().filename().string()))
      found.push_back(entry.path());
  }
  std::sort(found.begin(), found.end(), [&](const fs::path& a, const fs::path& b) {
    return checkpoint_step(a) > checkpoint_step(b);
  });
  return found;
}

void apply_retention(const fs::path& folder, std::int32_t keep_last,
                     std::optional<std::int64_t> best_step) {
  std::int32_t kept = 0;
  std::vector<fs::path> doomed;
  for (const fs::path& checkpoint : list_checkpoints(folder)) {
    // Only sound checkpoints count as kept, so that the last good one always stays.
    if (kept < std::max(keep_last, 1) && !find_checkpoint_damage(checkpoint)) {
      ++kept;
    } else if (!best_step || checkpoint.filename() != checkpoint_name(*best_step)) {
      doomed.push_back(checkpoint);
    }
  }
  if (kept == 0) return;
  for (const fs::path& checkpoint : doomed) delete_checkpoint(checkpoint);
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(kTemporaryPrefix)) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
  }
}

std::vector<fs::path> set_later_checkpoints_aside(const fs::path& folder, std::int64_t step) {
  std::vector<fs::path> renamed;
  for (const fs::path& checkpoint : list_checkpoints(folder)) {
    if (checkpoint_step(checkpoint) <= step) continue;
    const fs::path aside = folder / ("superseded_" + checkpoint.filename().string());
    std::error_code error;
    fs::remove_all(aside, error);
    if (!error) fs::rename(checkpoint, aside, error);
    if (error) {
      throw CheckpointError(checkpoint.string() + ": cannot be set aside for the run that goes " +
                            "on from step " + std::to_string(step) + ": " + error.message());
    }
    renamed.push_back(aside);
  }
  return renamed;
}

}  // namespace clara
