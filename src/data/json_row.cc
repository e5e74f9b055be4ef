// simdjson parses; what it refuses is parsed once more by nlohmann's parser, which says where and
// why.
#include "clara/data/json_row.h"

#include <cstdio>
#include <cstring>
#include <type_traits>
#include <utility>

#include <nlohmann/json.hpp>
#include <simdjson.h>

#include "clara/common/text.h"

namespace clara {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

element element_of(const std::array<std::byte, 16>& handle) {
  static_assert(sizeof(element) == sizeof handle && std::is_trivially_copyable_v<element>);
  element value;
  std::memcpy(static_cast<void*>(&value), handle.data(), handle.size());
  return value;
}

bool is_same(const element& a, const element& b) {
  return std::memcmp(static_cast<const void*>(&a), static_cast<const void*>(&b), sizeof a) == 0;
}

// The first bytes of a text for a message, not cut inside a character.
std::string excerpt(std::string_view text) {
  constexpr std::size_t kMaxBytes = 40;
  std::size_t end = 0;
  while (end < text.size() && end < kMaxBytes) {
    const std::size_t step = decode_utf8(text, end).num_bytes;
    if (step == 0) break;
    end += step;
  }
  return "\"" + std::string(text.substr(0, end)) + (end < text.size() ? "…\"" : "\"");
}

std::string describe(const element& value) {
  switch (value.type()) {
    case element_type::NULL_VALUE:
      return "null";
    case element_type::BOOL:
      return bool(value) ? "true" : "false";
    case element_type::STRING: {
      const std::string_view text = value;
      if (text.empty()) return "an empty string";
      if (strip_whitespace(text).empty()) return "a string of only white space";
      return "the string " + excerpt(text);
    }
    case element_type::ARRAY: {
      const simdjson::dom::array items = value;
      return items.size() == 0 ? "an empty list" : "a list of " + std::to_string(items.size());
    }
    case element_type::OBJECT:
      return "an object";
    default:
      return "the number " + simdjson::minify(value);
  }
}

// A key for a message: escapes can make one that is no UTF-8.
std::string shown_key(std::string_view key) {
  return find_invalid_utf8(key) ? "?" : std::string(key);
}

// Appends the path of `wanted` below `value` to `path`; false if it is not there.
bool find_path(const element& value, const element& wanted, std::string& path) {
  if (is_same(value, wanted)) return true;
  const std::size_t length = path.size();
  if (value.is_object()) {
    for (const auto& member : simdjson::dom::object(value)) {
      path += (path.empty() ? "" : ".") + shown_key(member.key);
      if (find_path(member.value, wanted, path)) return true;
      path.resize(length);
    }
  } else if (value.is_array()) {
    std::size_t i = 0;
    for (const element item : simdjson::dom::array(value)) {
      path += "[" + std::to_string(i++) + "]";
      if (find_path(item, wanted, path)) return true;
      path.resize(length);
    }
  }
  return false;
}

struct Fault {
  std::size_t byte = 0;  // from 0
  std::string reason;
};

// What nlohmann's parser says of a text that simdjson refused.
Fault fault_of(std::string_view text, const std::string& refusal) {
  try {
    [[maybe_unused]] const auto parsed = nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    const std::string message = error.what();
    // Its class and position come first; the place is given already.
    const std::size_t start = message.find(": ");
    // What it read last may end inside a character.
    return {error.byte == 0 ? 0 : error.byte - 1,
            drop_invalid_utf8(start == std::string::npos ? message : message.substr(start + 2))};
  } catch (const nlohmann::json::exception& error) {
    return {0, error.what()};
  }
  return {0, refusal};
}

}  // namespace

struct JsonRow::Parser {
  simdjson::dom::parser parser;
  element root;
};

JsonValue::JsonValue(const JsonRow& row, const void* handle) : row_(&row) {
  std::memcpy(handle_.data(), handle, handle_.size());
}

bool JsonValue::is_null() const { return element_of(handle_).is_null(); }
bool JsonValue::is_text() const { return element_of(handle_).is_string(); }
bool JsonValue::is_list() const { return element_of(handle_).is_array(); }
bool JsonValue::is_object() const { return element_of(handle_).is_object(); }

std::optional<JsonValue> JsonValue::find(std::string_view name) const {
  element member;
  if (element_of(handle_).at_key(name).get(member) != simdjson::SUCCESS) return std::nullopt;
  if (member.is_null()) return std::nullopt;
  return JsonValue(*row_, &member);
}

JsonValue JsonValue::require(std::string_view name, std::string_view expected) const {
  if (!is_object()) fail("an object with " + std::string(name));
  if (const auto value = find(name)) return *value;
  const std::string path = row_->path_of(*this);
  element member;
  const bool is_there = element_of(handle_).at_key(name).get(member) == simdjson::SUCCESS;
  row_->fail((path.empty() ? "" : path + ".") + std::string(name), expected,
             is_there ? "null" : "no such field");
}

std::vector<std::string> JsonValue::names() const {
  std::vector<std::string> all;
  simdjson::dom::object object;
  if (element_of(handle_).get(object) != simdjson::SUCCESS) return all;
  for (const auto& member : object) all.push_back(shown_key(member.key));
  return all;
}

std::string_view JsonValue::text(std::string_view expected) const {
  std::string_view text;
  if (element_of(handle_).get(text) != simdjson::SUCCESS) fail(expected);
  // Escaped surrogates without their partner: no character, and nothing that UTF-8 can hold.
  for (std::size_t i = text.find('\xED'); i != std::string_view::npos;
       i = text.find('\xED', i + 1)) {
    if (i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) >= 0xA0) {
      row_->fail(row_->path_of(*this), expected, "a string with half of a surrogate pair");
    }
  }
  return text;
}

std::vector<JsonValue> JsonValue::items(std::string_view expected) const {
  simdjson::dom::array array;
  if (element_of(handle_).get(array) != simdjson::SUCCESS) fail(expected);
  std::vector<JsonValue> all;
  all.reserve(array.size());
  for (const element item : array) all.push_back(JsonValue(*row_, &item));
  return all;
}

std::int64_t JsonValue::whole_number(std::string_view expected) const {
  std::int64_t number = 0;
  if (element_of(handle_).get(number) != simdjson::SUCCESS) fail(expected);
  return number;
}

bool JsonValue::truth(std::string_view expected) const {
  bool is_true = false;
  if (element_of(handle_).get(is_true) != simdjson::SUCCESS) fail(expected);
  return is_true;
}

std::string JsonValue::id() const {
  constexpr std::string_view kExpected = "a string or a whole number";
  const element value = element_of(handle_);
  if (std::int64_t number = 0; value.get(number) == simdjson::SUCCESS) {
    return std::to_string(number);
  }
  if (std::uint64_t number = 0; value.get(number) == simdjson::SUCCESS) {
    return std::to_string(number);
  }
  const std::string_view name = text(kExpected);
  if (strip_whitespace(name).empty()) fail(kExpected);
  return std::string(name);
}

void JsonValue::fail(std::string_view expected) const {
  row_->fail(row_->path_of(*this), expected, describe(element_of(handle_)));
}

JsonRow::JsonRow() : parser_(std::make_unique<Parser>()) {}
JsonRow::~JsonRow() = default;

JsonValue JsonRow::parse(const StreamedRow& row) {
  place_ = row.place;
  suffix_ = row.is_on_line ? "" : " (the row starts at byte " + std::to_string(row.offset) + ")";
  const auto place_of = [&](std::size_t byte) {
    return row.is_on_line ? "byte " + std::to_string(byte + 1)
                          : "byte " + std::to_string(row.offset + byte) + " of the file";
  };
  const simdjson::error_code code = parser_->parser.parse(row.text).get(parser_->root);
  if (code != simdjson::SUCCESS) {
    if (const auto fault = find_invalid_utf8(row.text)) {
      std::array<char, 8> byte{};
      std::snprintf(byte.data(), byte.size(), "0x%02X",
                    static_cast<unsigned char>(row.text[*fault]));
      throw JsonSyntaxError(place_.str() + ": " + place_of(*fault) +
                            ": expected UTF-8 text, found the byte " + byte.data());
    }
    const Fault fault = fault_of(row.text, simdjson::error_message(code));
    throw JsonSyntaxError(place_.str() + ": " + place_of(fault.byte) +
                          ": expected one JSON object, found invalid JSON (" + fault.reason + ")");
  }
  if (!parser_->root.is_object()) {
    throw DataError(place_.str() + ": expected one JSON object, found " + describe(parser_->root) +
                    suffix_);
  }
  return JsonValue(*this, &parser_->root);
}

void JsonRow::fail(const std::string& field, std::string_view expected,
                   std::string_view found) const {
  throw DataError(place_.str() + ": " + (field.empty() ? "" : field + ": ") + "expected " +
                  std::string(expected) + ", found " + std::string(found) + suffix_);
}

std::string JsonRow::path_of(const JsonValue& value) const {
  std::string path;
  find_path(parser_->root, element_of(value.handle_), path);
  return path;
}

}  // namespace clara
