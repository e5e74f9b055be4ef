// Strict loading of a RunConfig from YAML or JSON, with every mistake reported at once
// (architecture.md, convention 3).
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "clara/config/run_config.h"

namespace clara {

struct ConfigOverrides {
  std::optional<Stage> stage;  ///< the subcommand; the file's `stage` must agree
  /// "key.path=value", the value in YAML; a number in the path is a list index
  /// (data.train.0.path=…), which may be one past the end. A later assignment wins.
  std::vector<std::string> assignments;
};

/// Reads `path`; precedence: default of the stage < file < assignments. Relative paths stay as they
/// are. Throws one ConfigError with a line per mistake: "file:line: key.path: expected …, found …",
/// with "--set key.path" in place of file:line for an assignment; unknown keys get the nearest
/// known key as a suggestion; missing required keys are named; fields of other stages are mistakes.
/// A file that is missing or is no YAML ("file:line:column: …") is a ConfigError too.
RunConfig load_run_config(const std::filesystem::path& path, const ConfigOverrides& overrides = {});

/// The same from text (`name` stands for the file in messages).
RunConfig parse_run_config(const std::string& text, const std::string& name,
                           const ConfigOverrides& overrides = {});

/// The defaults of a stage. Required fields (model.base, data.train, output.folder) are empty.
RunConfig default_run_config(Stage stage);

/// "key=value" for ConfigOverrides::assignments where `value` is any text taken literally (a path,
/// for example).
std::string string_assignment(const std::string& key, const std::string& value);

/// The whole resolved config, less the fields of other stages, as YAML that load_run_config reads
/// back to the same config (bit-equal numbers).
std::string print_run_config(const RunConfig& config);

/// The same as a JSON object.
std::string run_config_to_json(const RunConfig& config);

/// One line "key: a -> b" for each field that differs, in the order of the structs; empty = equal
/// configs.
std::vector<std::string> diff_run_configs(const RunConfig& a, const RunConfig& b);

/// Reference page: every field with type, range, default (by stage where it differs) and meaning,
/// as Markdown.
std::string describe_run_config();

}  // namespace clara
