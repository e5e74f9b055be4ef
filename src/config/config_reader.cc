// The strict reader: what a YAML node may be for each type of field, and what is said when it is
// something else.
#include "config/config_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

namespace clara {
namespace {

constexpr int kEndOfFile = std::numeric_limits<int>::max();

std::string join(const std::vector<std::string>& words, const std::string& separator) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : separator) + word;
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// What a scalar is. A quoted scalar is always text.
enum class ScalarKind { kText, kInteger, kNumber, kNonFinite, kBool };

/// An integer is decimal without leading zeros: 0x10 and 010 mean different things to different
/// YAML readers.
bool is_integer(std::string_view text) {
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  if (text.empty() || (text[0] == '0' && text.size() > 1)) return false;
  return std::all_of(text.begin(), text.end(), is_digit);
}

/// digits [. digits] [e [sign] digits], with a digit before or after the point.
bool is_number(std::string_view text) {
  std::size_t i = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
  std::size_t num_digits = 0;
  for (; i < text.size() && is_digit(text[i]); ++i) ++num_digits;
  if (i < text.size() && text[i] == '.') {
    for (++i; i < text.size() && is_digit(text[i]); ++i) ++num_digits;
  }
  if (num_digits == 0) return false;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    const std::size_t first = i;
    while (i < text.size() && is_digit(text[i])) ++i;
    if (i == first) return false;
  }
  return i == text.size();
}

bool is_non_finite(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.erase(0, 1);
  return text == ".inf" || text == ".nan";
}

bool is_quoted(const YAML::Node& node) { return node.Tag() == "!"; }

/// A tag that the text itself does not imply (!!int, !custom): values say what they are without
/// one.
bool has_explicit_tag(const YAML::Node& node) {
  const std::string& tag = node.Tag();
  return !tag.empty() && tag != "?" && tag != "!";
}

ScalarKind scalar_kind(const YAML::Node& node) {
  if (is_quoted(node)) return ScalarKind::kText;
  const std::string& text = node.Scalar();
  if (text == "true" || text == "false") return ScalarKind::kBool;
  if (is_integer(text)) return ScalarKind::kInteger;
  if (is_number(text)) return ScalarKind::kNumber;
  if (is_non_finite(text)) return ScalarKind::kNonFinite;
  return ScalarKind::kText;
}

/// The node in the words of a message.
std::string found(const YAML::Node& node) {
  if (has_explicit_tag(node)) return "a value with the tag " + node.Tag();
  if (!node.IsDefined() || node.IsNull()) return "nothing (null)";
  if (node.IsMap()) return "a mapping";
  if (node.IsSequence()) {
    if (node.size() == 0) return "an empty list";
    return "a list of " + std::to_string(node.size());
  }
  std::string text = node.Scalar();
  constexpr std::size_t kMaxShown = 60;
  if (text.size() > kMaxShown) {
    std::size_t cut = kMaxShown;  // not inside a UTF-8 character
    while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0U) == 0x80U) --cut;
    text = text.substr(0, cut) + "…";
  }
  return is_quoted(node) ? "\"" + text + "\"" : text;
}

/// Scalars without a tag; anything else is of the wrong type for every plain field.
bool is_scalar(const YAML::Node& node) { return node.IsScalar() && !has_explicit_tag(node); }

std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above_value = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0U : 1U)});
      diagonal = above_value;
    }
  }
  return row[b.size()];
}

std::string leaf_of(const std::string& path) { return path.substr(path.rfind('.') + 1); }

/// The largest distance at which a word is taken for a slip of another.
std::size_t largest_slip(const std::string& word) {
  return std::max<std::size_t>(1, word.size() / 3);
}

/// The candidate most like `path`: by the whole path, or by the last name alone (a key in the wrong
/// section, which counts one more). Empty where none is near.
std::string nearest_path(const std::string& path, const std::vector<std::string>& candidates) {
  const std::string leaf = leaf_of(path);
  std::string best;
  std::size_t best_distance = largest_slip(leaf) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t distance =
        std::min(edit_distance(path, candidate), edit_distance(leaf, leaf_of(candidate)) + 1);
    if (distance < best_distance) {
      best_distance = distance;
      best = candidate;
    }
  }
  return best;
}

std::string expected_choice(const std::vector<std::string>& choices, const YAML::Node& node) {
  std::string text = "expected one of " + join(choices, ", ") + ", found " + found(node);
  if (!is_scalar(node)) return text;
  const std::string& word = node.Scalar();
  for (const std::string& choice : choices) {
    if (edit_distance(word, choice) <= largest_slip(word)) {
      return text + " (did you mean " + choice + "?)";
    }
  }
  return text;
}

bool starts_with_key(const std::string& path, const std::string& prefix) {
  return path.size() > prefix.size() && path.compare(0, prefix.size(), prefix) == 0 &&
         path[prefix.size()] == '.';
}

/// True for a or b above, below or at the other.
bool same_branch(const std::string& a, const std::string& b) {
  return a == b || starts_with_key(a, b) || starts_with_key(b, a);
}

template <class Owner>
const Field<Owner>* find_field(const std::vector<Field<Owner>>& fields, const std::string& path) {
  for (const Field<Owner>& field : fields) {
    if (field.path == path) return &field;
  }
  return nullptr;
}

template <class Owner>
bool is_section(const std::vector<Field<Owner>>& fields, const std::string& path) {
  return std::any_of(fields.begin(), fields.end(),
                     [&](const Field<Owner>& field) { return starts_with_key(field.path, path); });
}

/// The keys directly below `prefix` ("" = the top).
template <class Owner>
std::vector<std::string> keys_of(const std::vector<Field<Owner>>& fields,
                                 const std::string& prefix) {
  std::vector<std::string> keys;
  for (const Field<Owner>& field : fields) {
    if (!prefix.empty() && !starts_with_key(field.path, prefix)) continue;
    const std::string rest = prefix.empty() ? field.path : field.path.substr(prefix.size() + 1);
    const std::string key = rest.substr(0, rest.find('.'));
    if (std::find(keys.begin(), keys.end(), key) == keys.end()) keys.push_back(key);
  }
  return keys;
}

template <class T>
struct IsList : std::false_type {};
template <class Item>
struct IsList<std::vector<Item>> : std::true_type {};

}  // namespace

ConfigReader::ConfigReader(std::string name, RunConfig& config)
    : name_(std::move(name)), config_(config) {}

void ConfigReader::read_document(const YAML::Node& root) {
  const Place top{.source = 0, .line = 1, .text = name_ + ":1", .key = ""};
  read_mapping(run_config_fields(), config_, "", "", root, place_of_node(root, top));
}

void ConfigReader::read_assignment(int index, const std::string& key, const YAML::Node& value) {
  assignment_ = Place{.source = index + 1, .line = 0, .text = "--set " + key, .key = key};
  const Place place = *assignment_;
  read_key(run_config_fields(), config_, "", key, value, place);
  assignment_.reset();
}

void ConfigReader::report(const Place& place, const std::string& path, const std::string& message) {
  if (!path.empty()) bad_.insert(path);
  const bool repeats_key = path.empty() || path == place.key;
  mistakes_.push_back(
      {place.source, place.line, place.text + (repeats_key ? "" : ": " + path) + ": " + message});
}

bool ConfigReader::is_bad(const std::string& path) const {
  return std::any_of(bad_.begin(), bad_.end(),
                     [&](const std::string& bad) { return same_branch(bad, path); });
}

bool ConfigReader::is_given(const std::string& path) const {
  return std::any_of(places_.begin(), places_.end(),
                     [&](const auto& entry) { return same_branch(entry.first, path); });
}

Place ConfigReader::place_of(const std::string& path) const {
  // The value itself or a part of it: the latest source, and in it the value before its parts.
  const Place* best = nullptr;
  bool best_is_part = false;
  for (const auto& [recorded, place] : places_) {
    const bool is_part = starts_with_key(recorded, path);
    if (recorded != path && !is_part) continue;
    const bool is_later = best != nullptr && place.source > best->source;
    const bool is_whole =
        best != nullptr && place.source == best->source && best_is_part && !is_part;
    if (best == nullptr || is_later || is_whole) {
      best = &place;
      best_is_part = is_part;
    }
  }
  if (best != nullptr) return *best;
  // What it is a part of: the nearest.
  std::size_t best_size = 0;
  for (const auto& [recorded, place] : places_) {
    if (starts_with_key(path, recorded) && recorded.size() > best_size) {
      best = &place;
      best_size = recorded.size();
    }
  }
  if (best != nullptr) return *best;
  return Place{.source = 0, .line = kEndOfFile, .text = name_, .key = ""};
}

std::vector<std::string> ConfigReader::sorted_errors() const {
  std::vector<Mistake> sorted = mistakes_;
  std::stable_sort(sorted.begin(), sorted.end(), [](const Mistake& a, const Mistake& b) {
    return std::pair(a.source, a.line) < std::pair(b.source, b.line);
  });
  std::vector<std::string> texts;
  for (Mistake& mistake : sorted) texts.push_back(std::move(mistake.text));
  return texts;
}

Place ConfigReader::place_of_node(const YAML::Node& node, const Place& fallback) const {
  if (assignment_) return *assignment_;
  const YAML::Mark mark = node.Mark();
  if (mark.is_null() || mark.line < 0) return fallback;
  const int line = mark.line + 1;
  return Place{.source = 0, .line = line, .text = name_ + ":" + std::to_string(line), .key = ""};
}

void ConfigReader::record(const std::string& path, const Place& place) {
  // A value given anew replaces what was set below it.
  for (auto it = places_.begin(); it != places_.end();) {
    it = starts_with_key(it->first, path) ? places_.erase(it) : std::next(it);
  }
  places_[path] = place;
}

template <class Owner>
bool ConfigReader::stage_allows(const Field<Owner>& field, const std::string& path,
                                const Place& place) {
  if (!stage_ || (field.rule.stages & stage_bit(*stage_)) != 0) return true;
  report(place, path,
         "not used by stage " + to_string(*stage_) + ", only by " + stage_names(field.rule.stages) +
             " (remove it, or change the stage)");
  return false;
}

template <class Owner>
void ConfigReader::report_unknown(const std::vector<Field<Owner>>& fields, const std::string& base,
                                  const std::string& path, const Place& place) {
  std::vector<std::string> candidates;
  for (const Field<Owner>& field : fields) candidates.push_back(base + field.path);
  if constexpr (std::is_same_v<Owner, RunConfig>) {
    for (const Field<RunConfig>& field : run_config_fields()) {
      for (std::size_t dot = field.path.find('.'); dot != std::string::npos;
           dot = field.path.find('.', dot + 1)) {
        candidates.push_back(field.path.substr(0, dot));
      }
    }
  } else {
    for (const Field<RunConfig>& field : run_config_fields()) candidates.push_back(field.path);
  }
  const std::string nearest = nearest_path(path, candidates);
  if (!nearest.empty()) {
    report(place, path, "unknown key (did you mean " + nearest + "?)");
    return;
  }
  // Without a near name: the keys of the deepest section that exists.
  std::string section = path.substr(base.size());
  do {
    const std::size_t dot = section.rfind('.');
    section = dot == std::string::npos ? "" : section.substr(0, dot);
  } while (!section.empty() && !is_section(fields, section));
  const std::string owner = base + section;
  const std::string shown = owner.empty()         ? "the top level"
                            : owner.back() == '.' ? owner.substr(0, owner.size() - 1)
                                                  : owner;
  report(place, path,
         "unknown key (keys of " + shown + ": " + join(keys_of(fields, section), ", ") + ")");
}

template <class Owner>
void ConfigReader::read_mapping(const std::vector<Field<Owner>>& fields, Owner& owner,
                                const std::string& base, const std::string& prefix,
                                const YAML::Node& node, const Place& place) {
  std::string path = base + prefix;
  if (!path.empty() && path.back() == '.') path.pop_back();
  if (!node.IsMap() || has_explicit_tag(node)) {
    report(place, path,
           "expected a mapping with keys " + join(keys_of(fields, prefix), ", ") + ", found " +
               found(node) + (node.IsNull() ? " (remove the key, or write {})" : ""));
    return;
  }
  std::map<std::string, Place> seen;
  for (const auto& entry : node) {
    const Place key_place = place_of_node(entry.first, place);
    if (!entry.first.IsScalar()) {
      report(key_place, path, "expected a name as key, found " + found(entry.first));
      continue;
    }
    const std::string& name = entry.first.Scalar();
    const std::string key = prefix.empty() ? name : prefix + "." + name;
    const auto [first, is_new] = seen.emplace(name, key_place);
    if (!is_new) {
      report(key_place, base + key,
             "duplicate key (first in " + first->second.text + "; keep one of them)");
      continue;
    }
    // A dotted key is for assignments only: in a file it would be a second way to write a section.
    if (name.find('.') != std::string::npos || name.empty()) {
      report_unknown(fields, base, base + key, key_place);
      continue;
    }
    read_key(fields, owner, base, key, entry.second, key_place);
  }
}

template <class Owner>
void ConfigReader::read_key(const std::vector<Field<Owner>>& fields, Owner& owner,
                            const std::string& base, const std::string& key, const YAML::Node& node,
                            const Place& place) {
  const std::string path = base + key;
  if (const Field<Owner>* field = find_field(fields, key)) {
    read_field(*field, owner, path, node, place);
    return;
  }
  if (is_section(fields, key)) {
    read_mapping(fields, owner, base, key, node, place);
    return;
  }
  // What is left is a path into a list or into keep_best.
  for (const Field<Owner>& field : fields) {
    if (!starts_with_key(key, field.path)) continue;
    const std::string rest = key.substr(field.path.size() + 1);
    const std::string field_path = base + field.path;
    std::visit(
        [&](auto access) {
          auto& value = access(owner);
          using Value = std::remove_reference_t<decltype(value)>;
          if constexpr (IsList<Value>::value) {
            if (stage_allows(field, path, place)) {
              read_item(field.rule, value, field_path, rest, node, place);
            }
          } else if constexpr (std::is_same_v<Value, std::optional<KeepBestConfig>>) {
            const std::size_t num_mistakes = mistakes_.size();
            KeepBestConfig changed = value.value_or(KeepBestConfig{});
            read_key(keep_best_fields(), changed, field_path + ".", rest, node, place);
            if (mistakes_.size() == num_mistakes) value = changed;
          } else {
            report(place, path, "unknown key (" + field_path + " is a single value)");
          }
        },
        field.access);
    return;
  }
  report_unknown(fields, base, path, place);
}

template <class Owner>
void ConfigReader::read_field(const Field<Owner>& field, Owner& owner, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  if (!stage_allows(field, path, place)) return;
  record(path, place);
  std::visit([&](auto access) { read_value(field.rule, access(owner), path, node, place); },
             field.access);
}

template <class Item>
void ConfigReader::read_item(const FieldRule& rule, std::vector<Item>& items,
                             const std::string& path, const std::string& rest,
                             const YAML::Node& node, const Place& place) {
  const std::string index_text = rest.substr(0, rest.find('.'));
  std::size_t index = items.size() + 1;
  const bool is_index = is_integer(index_text) && is_digit(index_text[0]);
  if (is_index) {
    std::from_chars(index_text.data(), index_text.data() + index_text.size(), index);
  }
  if (!is_index || index > items.size()) {
    report(place, path + "." + rest,
           "expected a list index from 0 to " + std::to_string(items.size()) +
               " (one past the end adds an entry), found " + index_text);
    return;
  }
  const std::size_t num_mistakes = mistakes_.size();
  Item item = index < items.size() ? items[index] : Item{};
  const std::string item_path = path + "." + index_text;
  if (rest == index_text) {
    record(item_path, place);
    FieldRule item_rule = rule;
    item_rule.required = true;  // an empty string is no entry
    read_value(item_rule, item, item_path, node, place);
  } else if constexpr (std::is_same_v<Item, DataSource>) {
    read_key(data_source_fields(), item, item_path + ".", rest.substr(index_text.size() + 1), node,
             place);
  } else {
    report(place, path + "." + rest, "unknown key (" + item_path + " is a single value)");
  }
  if (mistakes_.size() != num_mistakes) return;
  if (index == items.size()) items.emplace_back();
  items[index] = std::move(item);
  if (rule.num_items != 0 && items.size() > rule.num_items) {
    report(place, item_path,
           "expected an index below " + std::to_string(rule.num_items) + ", found " + index_text);
  }
}

template <class Integer>
void ConfigReader::read_integer(const FieldRule& rule, Integer& value, const std::string& path,
                                const YAML::Node& node, const Place& place) {
  const std::string expected = "expected " +
                               (rule.word_for_zero.empty() ? "" : rule.word_for_zero + " or ") +
                               "an integer" + rule.range.text() + ", found " + found(node);
  if (is_scalar(node)) {
    const std::string& text = node.Scalar();
    if (!rule.word_for_zero.empty() && text == rule.word_for_zero) {
      value = 0;
      return;
    }
    if (scalar_kind(node) == ScalarKind::kInteger) {
      const std::size_t start = text[0] == '+' ? 1 : 0;
      Integer parsed = 0;
      const auto result = std::from_chars(text.data() + start, text.data() + text.size(), parsed);
      const bool fits = result.ec == std::errc() && result.ptr == text.data() + text.size();
      if (fits && rule.range.contains(static_cast<double>(parsed))) {
        value = parsed;
        return;
      }
      const bool is_too_large = !fits && text[0] != '-';
      report(
          place, path,
          expected + (is_too_large ? " (the largest is " +
                                         std::to_string(std::numeric_limits<Integer>::max()) + ")"
                                   : ""));
      return;
    }
  }
  report(place, path, expected);
}

void ConfigReader::read_value(const FieldRule& rule, std::int32_t& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_integer(rule, value, path, node, place);
}

void ConfigReader::read_value(const FieldRule& rule, std::int64_t& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_integer(rule, value, path, node, place);
}

void ConfigReader::read_value(const FieldRule& rule, std::uint64_t& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_integer(rule, value, path, node, place);
}

void ConfigReader::read_value(const FieldRule& rule, double& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  if (is_scalar(node)) {
    const ScalarKind kind = scalar_kind(node);
    if (kind == ScalarKind::kInteger || kind == ScalarKind::kNumber) {
      const std::string& text = node.Scalar();
      const std::size_t start = text[0] == '+' ? 1 : 0;
      double parsed = 0;
      const auto result = std::from_chars(text.data() + start, text.data() + text.size(), parsed);
      if (result.ec != std::errc()) {
        report(place, path,
               "expected a number that a double can hold" + rule.range.text() + ", found " +
                   found(node));
        return;
      }
      if (rule.range.contains(parsed)) {
        value = parsed;
        return;
      }
    } else if (kind == ScalarKind::kNonFinite) {
      report(place, path,
             "expected a finite number" + rule.range.text() + ", found " + found(node));
      return;
    }
  }
  report(place, path, "expected a number" + rule.range.text() + ", found " + found(node));
}

void ConfigReader::read_value(const FieldRule&, bool& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  if (is_scalar(node) && scalar_kind(node) == ScalarKind::kBool) {
    value = node.Scalar() == "true";
    return;
  }
  report(place, path, "expected true or false, found " + found(node));
}

void ConfigReader::read_value(const FieldRule& rule, std::string& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  const bool is_text = is_scalar(node) && scalar_kind(node) == ScalarKind::kText;
  if (!rule.choices.empty()) {
    const bool is_choice = is_text && std::find(rule.choices.begin(), rule.choices.end(),
                                                node.Scalar()) != rule.choices.end();
    if (is_choice) {
      value = node.Scalar();
    } else {
      report(place, path, expected_choice(rule.choices, node));
    }
    return;
  }
  if (is_text && !(rule.required && node.Scalar().empty())) {
    value = node.Scalar();
    return;
  }
  const bool needs_quotes = is_scalar(node) && !is_text;
  report(place, path,
         std::string("expected a ") + (rule.required ? "non-empty " : "") + "string, found " +
             found(node) + (needs_quotes ? " (put it in quotes)" : ""));
}

void ConfigReader::read_value(const FieldRule&, DataSource& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  const bool is_path = is_scalar(node) && scalar_kind(node) == ScalarKind::kText;
  if (is_path && !node.Scalar().empty()) {
    value = DataSource{.path = node.Scalar()};
    return;
  }
  if (node.IsMap()) {
    value = DataSource{};
    read_mapping(data_source_fields(), value, path + ".", "", node, place);
    return;
  }
  report(place, path, "expected a path or {path, weight, max_rows}, found " + found(node));
}

void ConfigReader::read_value(const FieldRule&, std::optional<KeepBestConfig>& value,
                              const std::string& path, const YAML::Node& node, const Place& place) {
  if (node.IsNull()) {
    value.reset();
    return;
  }
  if (!node.IsMap()) {
    report(place, path, "expected {metric, mode} or null, found " + found(node));
    return;
  }
  value = KeepBestConfig{};
  read_mapping(keep_best_fields(), *value, path + ".", "", node, place);
}

template <class Enum>
void ConfigReader::read_enum(const FieldRule& rule, Enum& value, const std::string& path,
                             const YAML::Node& node, const Place& place) {
  std::string name;
  const std::size_t num_mistakes = mistakes_.size();
  read_value(rule, name, path, node, place);
  if (mistakes_.size() != num_mistakes) return;
  const std::vector<std::string>& names = choice_names(value);
  value = static_cast<Enum>(std::find(names.begin(), names.end(), name) - names.begin());
}

void ConfigReader::read_value(const FieldRule& rule, Stage& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_enum(rule, value, path, node, place);
}

void ConfigReader::read_value(const FieldRule& rule, Dtype& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_enum(rule, value, path, node, place);
}

void ConfigReader::read_value(const FieldRule& rule, Device& value, const std::string& path,
                              const YAML::Node& node, const Place& place) {
  read_enum(rule, value, path, node, place);
}

template <class Item>
void ConfigReader::read_value(const FieldRule& rule, std::vector<Item>& items,
                              const std::string& path, const YAML::Node& node, const Place& place) {
  std::string expected = "expected a list of ";
  if (rule.num_items != 0) expected = "expected a list of " + std::to_string(rule.num_items) + " ";
  if constexpr (std::is_same_v<Item, DataSource>) {
    expected += "files, each a path or {path, weight, max_rows}";
  } else if constexpr (std::is_same_v<Item, double>) {
    expected += "numbers" + rule.range.text();
  } else {
    expected += "strings";
  }
  if (rule.required) expected += ", at least one";
  const bool is_list = node.IsSequence() && !has_explicit_tag(node);
  const bool has_wrong_size = is_list && ((rule.num_items != 0 && node.size() != rule.num_items) ||
                                          (rule.required && node.size() == 0));
  if (!is_list || has_wrong_size) {
    report(place, path, expected + ", found " + found(node));
    return;
  }
  FieldRule item_rule = rule;
  item_rule.required = true;  // an empty string is no entry
  items.clear();
  for (std::size_t i = 0; i < node.size(); ++i) {
    const Place item_place = place_of_node(node[i], place);
    const std::string item_path = path + "." + std::to_string(i);
    record(item_path, item_place);
    items.emplace_back();
    read_value(item_rule, items.back(), item_path, node[i], item_place);
  }
}

}  // namespace clara
