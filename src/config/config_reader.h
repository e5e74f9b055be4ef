// Reads YAML nodes into a RunConfig by the field table, strictly, and collects every mistake with
// its place.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "config/field_table.h"
#include <yaml-cpp/yaml.h>

#include "clara/config/run_config.h"

namespace clara {

/// Where a value stands: a line of the file, or an assignment.
struct Place {
  int source = 0;    ///< 0 = the file, i + 1 = assignment i
  int line = 0;      ///< of the file, from 1
  std::string text;  ///< "file:line" or "--set key"
  std::string key;   ///< of an assignment: its key, which the message need not repeat
};

class ConfigReader {
 public:
  /// Fills `config`, which must outlive the reader. `name` stands for the file in messages.
  ConfigReader(std::string name, RunConfig& config);

  /// The stage whose fields are allowed; without it, those of every stage are.
  void set_stage(std::optional<Stage> stage) { stage_ = stage; }

  /// The sections of a file.
  void read_document(const YAML::Node& root);

  /// Assignment number `index`: sets `key` (dotted, with list indices) to `value`.
  void read_assignment(int index, const std::string& key, const YAML::Node& value);

  /// Reports a mistake; `path` may be empty.
  void report(const Place& place, const std::string& path, const std::string& message);

  /// True where a mistake was reported at `path`, above it or below it: its value is not to be
  /// trusted.
  bool is_bad(const std::string& path) const;

  /// True where the file or an assignment set `path`, something above it or something below it.
  bool is_given(const std::string& path) const;

  /// Where `path`, or the nearest thing above or below it, was last set; the end of the file where
  /// nowhere.
  Place place_of(const std::string& path) const;

  /// The mistakes: those of the file by line, then those of the assignments in their order.
  std::vector<std::string> sorted_errors() const;

 private:
  struct Mistake {
    int source;
    int line;
    std::string text;
  };

  Place place_of_node(const YAML::Node& node, const Place& fallback) const;
  void record(const std::string& path, const Place& place);

  template <class Owner>
  bool stage_allows(const Field<Owner>& field, const std::string& path, const Place& place);
  template <class Owner>
  void read_mapping(const std::vector<Field<Owner>>& fields, Owner& owner, const std::string& base,
                    const std::string& prefix, const YAML::Node& node, const Place& place);
  template <class Owner>
  void read_key(const std::vector<Field<Owner>>& fields, Owner& owner, const std::string& base,
                const std::string& key, const YAML::Node& node, const Place& place);
  template <class Owner>
  void read_field(const Field<Owner>& field, Owner& owner, const std::string& path,
                  const YAML::Node& node, const Place& place);
  template <class Item>
  void read_item(const FieldRule& rule, std::vector<Item>& items, const std::string& path,
                 const std::string& rest, const YAML::Node& node, const Place& place);
  template <class Owner>
  void report_unknown(const std::vector<Field<Owner>>& fields, const std::string& base,
                      const std::string& path, const Place& place);

  void read_value(const FieldRule& rule, std::int32_t& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, std::int64_t& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, std::uint64_t& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, double& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, bool& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, std::string& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, DataSource& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, std::optional<KeepBestConfig>& value,
                  const std::string& path, const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, Stage& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, Dtype& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  void read_value(const FieldRule& rule, Device& value, const std::string& path,
                  const YAML::Node& node, const Place& place);
  template <class Integer>
  void read_integer(const FieldRule& rule, Integer& value, const std::string& path,
                    const YAML::Node& node, const Place& place);
  template <class Enum>
  void read_enum(const FieldRule& rule, Enum& value, const std::string& path,
                 const YAML::Node& node, const Place& place);
  template <class Item>
  void read_value(const FieldRule& rule, std::vector<Item>& items, const std::string& path,
                  const YAML::Node& node, const Place& place);

  std::string name_;
  RunConfig& config_;
  std::optional<Stage> stage_;
  std::optional<Place> assignment_;  ///< set while an assignment is read
  std::vector<Mistake> mistakes_;
  std::set<std::string> bad_;
  std::map<std::string, Place> places_;
};

}  // namespace clara
