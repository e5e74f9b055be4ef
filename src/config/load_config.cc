// From a file and assignments to a RunConfig: stage first (it decides defaults and allowed fields),
// then the file, then the assignments, then what concerns several fields.
#include "clara/config/load_config.h"

#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>

#include "config/config_reader.h"
#include "config/count_yaml_documents.h"
#include "config/cross_checks.h"
#include "config/field_table.h"
#include <nlohmann/json.hpp>
#include <yaml-cpp/yaml.h>

#include "clara/common/error.h"

namespace clara {
namespace {

/// "key=value", taken apart. Without a value there is a mistake to report.
struct Assignment {
  std::string key;
  std::optional<YAML::Node> value;
  std::string mistake;
};

std::string syntax_error(const YAML::Exception& error) {
  return "no valid YAML or JSON (" + error.msg + ")";
}

/// JSON writes characters beyond U+FFFF as two \u escapes, which YAML does not know: rewrites them
/// as one \U escape.
std::string join_surrogate_escapes(const std::string& json) {
  const auto escape_at = [&](std::size_t i) -> std::uint32_t {
    if (i + 6 > json.size() || json[i] != '\\' || json[i + 1] != 'u') return 0;
    return static_cast<std::uint32_t>(std::stoul(json.substr(i + 2, 4), nullptr, 16));
  };
  std::string text;
  for (std::size_t i = 0; i < json.size();) {
    const std::uint32_t high = escape_at(i);
    const std::uint32_t low = high >= 0xD800 && high < 0xDC00 ? escape_at(i + 6) : 0;
    if (low >= 0xDC00 && low < 0xE000) {
      constexpr char kHex[] = "0123456789abcdef";
      const std::uint32_t code = 0x10000 + ((high - 0xD800) << 10U) + (low - 0xDC00);
      text += "\\U";
      for (int shift = 28; shift >= 0; shift -= 4) text += kHex[(code >> shift) & 0xFU];
      i += 12;
    } else {
      const std::size_t num_chars = json[i] == '\\' ? 2 : 1;  // an escaped backslash starts nothing
      text += json.substr(i, num_chars);
      i += num_chars;
    }
  }
  return text;
}

YAML::Node parse_document(const std::string& text, const std::string& name) {
  // For nlohmann a text ends at its first NUL.
  const bool is_json = text.find('\0') == std::string::npos && nlohmann::json::accept(text);
  const std::string yaml = is_json ? join_surrogate_escapes(text) : text;
  YamlCount count{};
  YAML::Node document;
  try {
    count = count_yaml_documents(yaml);
    document = YAML::Load(yaml);
  } catch (const YAML::Exception& error) {
    throw ConfigError(name + ":" + std::to_string(error.mark.line + 1) + ":" +
                      std::to_string(error.mark.column + 1) + ": " + syntax_error(error));
  }
  if (count == YamlCount::kNone || (count == YamlCount::kOne && document.IsNull())) {
    throw ConfigError(
        name + ": expected a mapping of sections (stage, model, data, …), found an empty file");
  }
  if (count == YamlCount::kSeveral) {
    throw ConfigError(name +
                      ": expected one YAML document, found several (separated by ---, or by a "
                      "stray comma or bracket)");
  }
  return document;
}

Assignment parse_assignment(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0) {
    return {text, std::nullopt, "expected key.path=value, found " + text};
  }
  const std::string key = text.substr(0, equals);
  const std::string value = text.substr(equals + 1);
  // The shell eats the quotes of key='': nothing after the sign is the empty string, null is
  // written null.
  if (value.empty()) return {key, YAML::Load("''"), ""};
  try {
    if (count_yaml_documents(value) == YamlCount::kOne) return {key, YAML::Load(value), ""};
    return {key, std::nullopt, "expected one YAML value, found " + value};
  } catch (const YAML::Exception& error) {
    return {key, std::nullopt,
            "expected a YAML value, found " + value + ": " + syntax_error(error) + " at column " +
                std::to_string(error.mark.column + 1)};
  }
}

std::optional<Stage> stage_of(const YAML::Node& node) {
  if (!node.IsScalar()) return std::nullopt;
  for (Stage stage : kStages) {
    if (node.Scalar() == to_string(stage)) return stage;
  }
  return std::nullopt;
}

/// The stage that file and assignments give; the last one that is a stage at all.
std::optional<Stage> given_stage(const YAML::Node& root,
                                 const std::vector<Assignment>& assignments) {
  std::optional<Stage> stage;
  if (root.IsMap()) {
    for (const auto& entry : root) {
      if (!entry.first.IsScalar() || entry.first.Scalar() != "stage") continue;
      stage = stage_of(entry.second);
      break;
    }
  }
  for (const Assignment& assignment : assignments) {
    if (assignment.key != "stage" || !assignment.value) continue;
    if (const std::optional<Stage> assigned = stage_of(*assignment.value)) stage = assigned;
  }
  return stage;
}

void check_stage(std::optional<Stage> given, std::optional<Stage> command, ConfigReader& reader) {
  if (reader.is_bad("stage")) return;
  if (!given && !command) {
    reader.report(reader.place_of("stage"), "stage",
                  "required key is missing: one of scp, tune, joint, retriever");
  } else if (given && command && *given != *command) {
    reader.report(reader.place_of("stage"), "stage",
                  "expected " + to_string(*command) + " (the stage of the command), found " +
                      to_string(*given) + " (use the command of that stage, or another config)");
  }
}

}  // namespace

RunConfig default_run_config(Stage stage) {
  RunConfig config;
  ConfigReader reader("defaults", config);
  config.stage = stage;
  for (const Field<RunConfig>& field : run_config_fields()) {
    for (const StageDefault& special : field.rule.stage_defaults) {
      if ((special.stages & stage_bit(stage)) == 0) continue;
      reader.read_assignment(0, field.path, YAML::Load(special.yaml));
    }
  }
  return config;
}

std::string string_assignment(const std::string& key, const std::string& value) {
  // A JSON string is a YAML string.
  return key + "=" +
         nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

RunConfig parse_run_config(const std::string& text, const std::string& name,
                           const ConfigOverrides& overrides) {
  const YAML::Node root = parse_document(text, name);
  std::vector<Assignment> assignments;
  for (const std::string& assignment : overrides.assignments) {
    assignments.push_back(parse_assignment(assignment));
  }

  const std::optional<Stage> given = given_stage(root, assignments);
  // Where file and command disagree, the file's own stage decides which of its fields are allowed:
  // one mistake, one line.
  const std::optional<Stage> stage = given ? given : overrides.stage;
  RunConfig config = default_run_config(stage.value_or(Stage::kScp));
  ConfigReader reader(name, config);
  reader.set_stage(stage);
  reader.read_document(root);
  for (std::size_t i = 0; i < assignments.size(); ++i) {
    const auto& [key, value, mistake] = assignments[i];
    const int index = static_cast<int>(i);
    if (value) {
      reader.read_assignment(index, key, *value);
    } else {
      reader.report(Place{.source = index + 1, .line = 0, .text = "--set " + key, .key = key}, key,
                    mistake);
    }
  }
  if (root.IsMap()) {  // otherwise there is one mistake: it is no config at all
    check_stage(given, overrides.stage, reader);
    check_run_config(config, reader);
  }

  const std::vector<std::string> mistakes = reader.sorted_errors();
  if (mistakes.empty()) return config;
  std::string message;
  for (const std::string& mistake : mistakes) message += (message.empty() ? "" : "\n") + mistake;
  throw ConfigError(message);
}

RunConfig load_run_config(const std::filesystem::path& path, const ConfigOverrides& overrides) {
  std::error_code error;
  const std::filesystem::file_status status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) {
    throw ConfigError(path.string() +
                      ": expected a config file, found nothing at this path (check --config; "
                      "paths are relative to the current folder)");
  }
  if (std::filesystem::is_directory(status)) {
    throw ConfigError(path.string() +
                      ": expected a config file, found a folder (name the .yaml file in it)");
  }
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file.is_open() || file.bad()) {
    throw ConfigError(path.string() +
                      ": expected a readable config file, but it cannot be read (check its "
                      "permissions)");
  }
  return parse_run_config(text.str(), path.string(), overrides);
}

}  // namespace clara
