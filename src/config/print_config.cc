// A RunConfig as YAML and as JSON, and the difference of two: all from the JSON values of the field
// table.
#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "config/field_table.h"
#include "config/render_value.h"
#include <nlohmann/json.hpp>

#include "clara/config/load_config.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

template <class Owner>
Json field_json(const Field<Owner>& field, Owner& owner);

template <class Owner>
Json members_json(const std::vector<Field<Owner>>& fields, Owner owner) {
  Json object = Json::object();
  for (const Field<Owner>& field : fields) object[field.path] = field_json(field, owner);
  return object;
}

template <class Value>
Json value_json(const FieldRule& rule, const Value& value) {
  if constexpr (std::is_enum_v<Value>) {
    return to_string(value);
  } else if constexpr (std::is_integral_v<Value> && !std::is_same_v<Value, bool>) {
    if (value == 0 && !rule.word_for_zero.empty()) return rule.word_for_zero;
    return value;
  } else if constexpr (std::is_same_v<Value, std::vector<DataSource>>) {
    Json list = Json::array();
    for (const DataSource& source : value)
      list.push_back(members_json(data_source_fields(), source));
    return list;
  } else if constexpr (std::is_same_v<Value, std::optional<KeepBestConfig>>) {
    return value ? members_json(keep_best_fields(), *value) : Json(nullptr);
  } else {
    return value;
  }
}

template <class Owner>
Json field_json(const Field<Owner>& field, Owner& owner) {
  return std::visit([&](auto access) { return value_json(field.rule, access(owner)); },
                    field.access);
}

/// Shortest text that reads back to the same double, with a point: 1.0e-05 is a number to every
/// YAML reader, 1e-05 is not.
std::string double_text(double value) {
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  std::string text(buffer, result.ptr);
  if (text.find_first_of(".ni") == std::string::npos) {
    const std::size_t end_of_digits = std::min(text.find('e'), text.size());
    text = text.substr(0, end_of_digits) + ".0" + text.substr(end_of_digits);
  }
  return text;
}

/// Letters, digits and _ . / + @ -, starting with a letter, and none of the words that some YAML
/// reader takes for a bool, a null or a number.
bool is_plain(const std::string& text) {
  const auto is_letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  if (text.empty() || !(is_letter(text[0]) || text[0] == '_' || text[0] == '/')) return false;
  for (char c : text) {
    const bool is_digit = c >= '0' && c <= '9';
    if (!is_letter(c) && !is_digit && std::string("_./+@-").find(c) == std::string::npos)
      return false;
  }
  std::string lower = text;
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  for (const char* word : {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}) {
    if (lower == word) return false;
  }
  return true;
}

std::string flow_text(const Json& value) {
  if (value.is_string()) {
    const std::string& text = value.get_ref<const std::string&>();
    if (is_plain(text)) return text;
    return value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  if (value.is_number_float()) return double_text(value.get<double>());
  if (!value.is_structured()) return value.dump();
  std::string text(1, value.is_object() ? '{' : '[');
  for (const auto& item : value.items()) {
    if (text.size() > 1) text += ", ";
    if (value.is_object()) text += item.key() + ": ";
    text += flow_text(item.value());
  }
  text += value.is_object() ? '}' : ']';
  return text;
}

bool is_list_of_mappings(const Json& value) {
  return value.is_array() && !value.empty() && value[0].is_object();
}

std::vector<std::string> split_path(const std::string& path) {
  std::vector<std::string> names(1);
  for (char c : path) {
    if (c == '.') {
      names.emplace_back();
    } else {
      names.back() += c;
    }
  }
  return names;
}

/// The fields that the config's stage uses, nested by section.
Json config_json(RunConfig config) {
  Json root = Json::object();
  for (const Field<RunConfig>& field : run_config_fields()) {
    if ((field.rule.stages & stage_bit(config.stage)) == 0) continue;
    Json* value = &root;
    for (const std::string& name : split_path(field.path)) value = &(*value)[name];
    *value = field_json(field, config);
  }
  return root;
}

}  // namespace

std::string value_text(const Field<RunConfig>& field, const RunConfig& config) {
  RunConfig copy = config;
  return flow_text(field_json(field, copy));
}

std::string value_text(const Field<DataSource>& field, const DataSource& source) {
  DataSource copy = source;
  return flow_text(field_json(field, copy));
}

std::string value_text(const Field<KeepBestConfig>& field, const KeepBestConfig& keep_best) {
  KeepBestConfig copy = keep_best;
  return flow_text(field_json(field, copy));
}

std::string print_run_config(const RunConfig& config) {
  std::string text;
  std::vector<std::string> open;  // the sections that the last line stood in
  RunConfig copy = config;
  for (const Field<RunConfig>& field : run_config_fields()) {
    if ((field.rule.stages & stage_bit(config.stage)) == 0) continue;
    std::vector<std::string> sections = split_path(field.path);
    const std::string name = sections.back();
    sections.pop_back();
    bool is_same = true;
    for (std::size_t i = 0; i < sections.size(); ++i) {
      is_same = is_same && i < open.size() && open[i] == sections[i];
      if (!is_same) text += std::string(2 * i, ' ') + sections[i] + ":\n";
    }
    open = sections;
    const std::string indent(2 * sections.size(), ' ');
    const Json value = field_json(field, copy);
    text += indent + name + ":";
    if (is_list_of_mappings(value)) {
      text += "\n";
      for (const Json& item : value) text += indent + "  - " + flow_text(item) + "\n";
    } else {
      text += ' ';
      text += flow_text(value);
      text += '\n';
    }
  }
  return text;
}

std::string run_config_to_json(const RunConfig& config) {
  return config_json(config).dump(2, ' ', false, Json::error_handler_t::replace);
}

std::vector<std::string> diff_run_configs(const RunConfig& a, const RunConfig& b) {
  std::vector<std::string> lines;
  for (const Field<RunConfig>& field : run_config_fields()) {
    const std::string text_a = value_text(field, a);
    const std::string text_b = value_text(field, b);
    if (text_a != text_b) lines.push_back(field.path + ": " + text_a + " -> " + text_b);
  }
  return lines;
}

}  // namespace clara
