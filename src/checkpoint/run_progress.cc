// Progress as JSON.
#include "clara/checkpoint/run_progress.h"

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;

constexpr std::int32_t kFormatVersion = 1;

[[noreturn]] void fail(const std::string& what) {
  throw CheckpointError("trainer_state.json: " + what);
}

const Json& field(const Json& json, const char* name) {
  const auto it = json.find(name);
  if (it == json.end()) fail(std::string(name) + ": missing");
  return *it;
}

std::int64_t count(const Json& json, const std::string& name) {
  const auto number = whole_number<std::int64_t>(json);
  if (!number || *number < 0) fail(name + ": expected a whole number of at least 0");
  return *number;
}

std::string text_of(const Json& json, const std::string& name) {
  if (!json.is_string()) fail(name + ": expected a string");
  return json.get<std::string>();
}

std::optional<std::int64_t> optional_count(const Json& json, const char* name) {
  const auto it = json.find(name);
  if (it == json.end()) return std::nullopt;
  return count(*it, name);
}

const Json& object(const Json& json, const std::string& name) {
  if (!json.is_object()) fail(name + ": expected an object");
  return json;
}

}  // namespace

RunProgress parse_run_progress(const std::string& text) {
  const Json json = parse_json<Json>(text);
  if (!json.is_object()) fail("expected a JSON object; the file is damaged");
  if (const std::int64_t version = count(field(json, "format_version"), "format_version");
      version > kFormatVersion) {
    fail("format version " + std::to_string(version) + " was written by a newer release");
  }
  RunProgress progress;
  progress.step = count(field(json, "step"), "step");
  progress.total_steps = count(field(json, "total_steps"), "total_steps");
  progress.epoch = optional_count(json, "epoch");
  progress.position = optional_count(json, "position");
  if (const auto due = json.find("is_validation_due"); due != json.end()) {
    if (!due->is_boolean()) fail("is_validation_due: expected true or false");
    progress.is_validation_due = due->get<bool>();
  }
  if (const Json& best = field(json, "best"); !best.is_null()) {
    object(best, "best");
    const Json& value = field(best, "value");
    if (!value.is_number()) fail("best.value: expected a number");
    progress.best = {text_of(field(best, "metric"), "best.metric"), value.get<double>(),
                     count(field(best, "step"), "best.step")};
  }
  for (const auto& [name, value] : object(field(json, "counters"), "counters").items())
    progress.counters[name] = count(value, "counters." + name);
  progress.config_yaml = text_of(field(json, "config"), "config");
  if (const auto inputs = json.find("inputs"); inputs != json.end()) {
    for (const auto& [name, value] : object(*inputs, "inputs").items())
      progress.inputs[name] = text_of(value, "inputs." + name);
  }
  return progress;
}

std::string render_run_progress(const RunProgress& progress) {
  Json json = {{"format_version", kFormatVersion},
               {"step", progress.step},
               {"total_steps", progress.total_steps},
               {"is_validation_due", progress.is_validation_due},
               {"best", nullptr},
               {"counters", progress.counters},
               {"config", progress.config_yaml},
               {"inputs", progress.inputs}};
  if (progress.epoch) json["epoch"] = *progress.epoch;
  if (progress.position) json["position"] = *progress.position;
  if (progress.best) {
    json["best"] = {{"metric", progress.best->metric},
                    {"value", progress.best->value},
                    {"step", progress.best->step}};
  }
  // Paths in the config need not be UTF-8.
  return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace clara
