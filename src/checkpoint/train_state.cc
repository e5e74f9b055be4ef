// Saving by rename, loading by manifest.
#include "clara/checkpoint/train_state.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr int kStateVersion = 1;
constexpr const char* kManifest = "manifest.json";
constexpr const char* kTemporaryPrefix = ".tmp_";

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

void sync_folders(const fs::path& folder) {
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_directory()) sync_path(entry.path());
  }
  sync_path(folder);
}

std::string manifest_of(const fs::path& folder) {
  Json files = Json::object();
  for (const fs::path& file : files_below(folder)) {
    files[file.generic_string()] = {{"bytes", fs::file_size(folder / file)},
                                    {"xxh3_128", hash_file(folder / file).hex()}};
  }
  return Json{{"format_version", kStateVersion}, {"files", files}}.dump(2) + "\n";
}

Json state_json(const TrainState& state) {
  Json json = {{"format_version", kStateVersion},  {"step", state.step},
               {"total_steps", state.total_steps}, {"best", nullptr},
               {"counters", state.counters},       {"config", state.config_yaml}};
  if (state.best)
    json["best"] = {
        {"metric", state.best->metric}, {"value", state.best->value}, {"step", state.best->step}};
  return json;
}

}  // namespace

std::string checkpoint_name(std::int64_t step) {
  char name[32];
  std::snprintf(name, sizeof name, "step_%06" PRId64, step);
  return name;
}

fs::path save_checkpoint(const fs::path& folder, const ClaraModel& model,
                         const ModelDescription& description, const TrainState& state) {
  const fs::path target = folder / checkpoint_name(state.step);
  const fs::path temporary = folder / (kTemporaryPrefix + checkpoint_name(state.step));
  try {
    fs::remove_all(temporary);
    fs::create_directories(temporary);
    save_model_files(temporary, model, description);
    save_tensors(temporary / "optimizer.safetensors", state.optimizer);
    write_file_atomically(temporary / "trainer_state.json", state_json(state).dump(2) + "\n");
    sync_folders(temporary);
    write_file_atomically(temporary / kManifest, manifest_of(temporary));
    // The same step of an earlier, resumed run steps aside first: at every moment one of the two is
    // whole.
    const fs::path replaced =
        folder / (kTemporaryPrefix + checkpoint_name(state.step) + "_replaced");
    fs::remove_all(replaced);
    if (fs::exists(target)) fs::rename(target, replaced);
    fs::rename(temporary, target);
    sync_path(folder);
    fs::remove_all(replaced);
  } catch (const std::exception& error) {
    std::error_code ignored;
    fs::remove_all(temporary, ignored);
    throw CheckpointError(target.string() + ": the checkpoint could not be saved: " + error.what());
  }
  return target;
}

std::optional<std::string> find_checkpoint_damage(const fs::path& checkpoint) {
  std::error_code error;
  if (!fs::exists(checkpoint / kManifest, error)) return "manifest.json is missing";
  try {
    const Json manifest = Json::parse(read_file(checkpoint / kManifest));
    if (manifest.at("format_version").get<int>() > kStateVersion)
      return "it was written by a newer release";
    for (const auto& [name, file] : manifest.at("files").items()) {
      const fs::path path = checkpoint / name;
      if (!fs::is_regular_file(path, error)) return name + " is missing";
      const auto bytes = file.at("bytes").get<std::uintmax_t>();
      if (fs::file_size(path) != bytes) {
        return name + " has " + std::to_string(fs::file_size(path)) + " bytes, expected " +
               std::to_string(bytes);
      }
      if (hash_file(path).hex() != file.at("xxh3_128").get<std::string>())
        return name + " has another checksum than the manifest";
    }
  } catch (const std::exception& failure) {
    return std::string("manifest.json cannot be used: ") + failure.what();
  }
  return std::nullopt;
}

TrainState load_checkpoint(const fs::path& checkpoint, ClaraModel& model) {
  if (const auto damage = find_checkpoint_damage(checkpoint)) {
    throw CheckpointError(checkpoint.string() + ": this checkpoint is damaged: " + *damage +
                          "; use an earlier one, or --resume auto");
  }
  load_model_files(checkpoint, model);
  try {
    const Json json = Json::parse(read_file(checkpoint / "trainer_state.json"));
    TrainState state;
    state.step = json.at("step").get<std::int64_t>();
    state.total_steps = json.at("total_steps").get<std::int64_t>();
    state.config_yaml = json.at("config").get<std::string>();
    json.at("counters").get_to(state.counters);
    if (const Json& best = json.at("best"); !best.is_null()) {
      state.best = {best.at("metric").get<std::string>(), best.at("value").get<double>(),
                    best.at("step").get<std::int64_t>()};
    }
    state.optimizer = load_tensors(checkpoint / "optimizer.safetensors");
    return state;
  } catch (const Json::exception& error) {
    throw CheckpointError((checkpoint / "trainer_state.json").string() + ": " + error.what());
  }
}

std::string load_checkpoint_config(const fs::path& checkpoint) {
  const fs::path path = checkpoint / "trainer_state.json";
  try {
    return Json::parse(read_file(path)).at("config").get<std::string>();
  } catch (const std::exception& error) {
    throw CheckpointError(path.string() + ": " + error.what());
  }
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_directory() && name.starts_with("step_") && name.size() > 5 && name.size() < 24 &&
        name.find_first_not_of("0123456789", 5) == std::string::npos) {
      found.push_back(entry.path());
    }
  }
  const auto step_of = [](const fs::path& path) {
    return std::stoll(path.filename().string().substr(5));
  };
  std::sort(found.begin(), found.end(),
            [&](const fs::path& a, const fs::path& b) { return step_of(a) > step_of(b); });
  return found;
}

void apply_retention(const fs::path& folder, std::int32_t keep_last,
                     std::optional<std::int64_t> best_step) {
  std::int32_t kept = 0;
  for (const fs::path& checkpoint : list_checkpoints(folder)) {
    // Only sound checkpoints count as kept, so that the last good one always stays.
    if (kept < std::max(keep_last, 1) && !find_checkpoint_damage(checkpoint)) {
      ++kept;
      continue;
    }
    if (best_step && checkpoint.filename() == checkpoint_name(*best_step)) continue;
    std::error_code ignored;
    fs::remove_all(checkpoint, ignored);
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().filename().string().starts_with(kTemporaryPrefix)) {
      std::error_code ignored;
      fs::remove_all(entry.path(), ignored);
    }
  }
}

}  // namespace clara
