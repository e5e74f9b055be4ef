// The one table that describes every field of a RunConfig. Parsing, validation, printing, the JSON
// form, the comparison of two configs and the reference page are all driven by it (architecture.md,
// convention 3).
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "clara/config/run_config.h"

namespace clara {

/// A set of stages, one bit each.
using StageSet = unsigned;

constexpr StageSet stage_bit(Stage stage) { return 1U << static_cast<unsigned>(stage); }

inline constexpr Stage kStages[] = {Stage::kScp, Stage::kTune, Stage::kJoint, Stage::kRetriever};
inline constexpr StageSet kEveryStage = stage_bit(Stage::kScp) | stage_bit(Stage::kTune) |
                                        stage_bit(Stage::kJoint) | stage_bit(Stage::kRetriever);

/// "joint and retriever", "scp, tune and joint", ….
std::string stage_names(StageSet stages);

/// The words of an enumeration, in the order of its values.
const std::vector<std::string>& choice_names(Stage);
const std::vector<std::string>& choice_names(Dtype);
const std::vector<std::string>& choice_names(Device);

/// The numbers that a field may hold. For a list: each of its numbers.
struct Range {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool min_is_open = false;  ///< min itself is not allowed
  bool max_is_open = false;  ///< max itself is not allowed

  bool contains(double value) const;
  /// " >= 1", " in [0, 1)", "" where everything is allowed.
  std::string text() const;
};

constexpr Range at_least(double min) { return {.min = min}; }
constexpr Range above(double min) { return {.min = min, .min_is_open = true}; }
constexpr Range between(double min, double max) { return {.min = min, .max = max}; }
constexpr Range below(double min, double max) {
  return {.min = min, .max = max, .max_is_open = true};
}

/// A default that differs from the struct's initialiser in some stages.
struct StageDefault {
  StageSet stages = 0;
  std::string yaml;
};

/// What a field may hold and what it means.
struct FieldRule {
  std::string doc;                        ///< one line for the reference page
  Range range = {};                       ///< numbers
  std::vector<std::string> choices = {};  ///< strings: the only ones allowed; empty = any
  bool required = false;                  ///< has no default: must be given and not be empty
  StageSet stages = kEveryStage;          ///< the stages that use it; in the others it is an error
  std::string word_for_zero = {};  ///< integers: the word that stands for 0 in files ("auto")
  std::size_t num_items = 0;       ///< lists: exactly so many; 0 = any
  std::vector<StageDefault> stage_defaults = {};
};

/// A field of the struct `Owner`: its dotted path in it, how to reach it, its rule.
template <class Owner>
struct Field {
  using Access =
      std::variant<std::int32_t& (*)(Owner&), std::int64_t& (*)(Owner&), std::uint64_t& (*)(Owner&),
                   double& (*)(Owner&), bool& (*)(Owner&), std::string& (*)(Owner&),
                   std::vector<std::string>& (*)(Owner&), std::vector<double>& (*)(Owner&),
                   std::vector<DataSource>& (*)(Owner&), std::optional<KeepBestConfig>& (*)(Owner&),
                   Stage& (*)(Owner&), Dtype& (*)(Owner&), Device& (*)(Owner&)>;
  std::string path;
  Access access;
  FieldRule rule;
};

/// Every field of a run, in the order of the structs.
const std::vector<Field<RunConfig>>& run_config_fields();
/// The fields of an entry of data.train and data.validation.
const std::vector<Field<DataSource>>& data_source_fields();
/// The fields of output.keep_best where it is not null.
const std::vector<Field<KeepBestConfig>>& keep_best_fields();

}  // namespace clara
