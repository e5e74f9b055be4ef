// Strict parsing of records: every fault names its place, its field, what was expected and what was
// found.
#include "clara/data/records.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdio>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using Json = nlohmann::json;

// The first bytes of a text for a message, not cut inside a character.
std::string excerpt(std::string_view text) {
  constexpr std::size_t kMaxBytes = 40;
  std::size_t end = 0;
  while (end < text.size() && end < kMaxBytes) end += decode_utf8(text, end).num_bytes;
  std::string quoted = "\"";
  quoted += text.substr(0, end);
  quoted += end < text.size() ? "…\"" : "\"";
  return quoted;
}

std::string describe(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::boolean:
      return value.get<bool>() ? "true" : "false";
    case Json::value_t::string: {
      const auto& text = value.get_ref<const std::string&>();
      if (text.empty()) return "an empty string";
      if (strip_whitespace(text).empty()) return "a string of only white space";
      return "the string " + excerpt(text);
    }
    case Json::value_t::array:
      return value.empty() ? "an empty list" : "a list of " + std::to_string(value.size());
    case Json::value_t::object:
      return "an object";
    default:
      return "the number " + value.dump();
  }
}

// One record while it is read.
class RecordReader {
 public:
  RecordReader(std::string_view text, const RecordPlace& place) : place_(place) {
    if (const auto fault = find_invalid_utf8(text)) {
      std::array<char, 8> byte{};
      std::snprintf(byte.data(), byte.size(), "0x%02X", static_cast<unsigned char>(text[*fault]));
      fail("byte " + std::to_string(*fault + 1), "UTF-8 text",
           std::string("the byte ") + byte.data());
    }
    if (const std::size_t nul = text.find('\0'); nul != std::string_view::npos)
      fail("byte " + std::to_string(nul + 1), "one JSON object", "a NUL byte");
    if (is_nested_deeper_than(kMaxJsonDepth, text)) {
      throw DataError(place_.str() +
                      ": expected one JSON object, found lists or objects more than " +
                      std::to_string(kMaxJsonDepth) + " deep");
    }
    try {
      object_ = Json::parse(text);
    } catch (const Json::parse_error& error) {
      fail("byte " + std::to_string(error.byte), "one JSON object",
           "invalid JSON (" + reason(error.what()) + ")");
    } catch (const Json::out_of_range& error) {
      // "[json.exception.out_of_range.406] number overflow parsing '1e999'", of any length.
      const std::string what = error.what();
      throw DataError(place_.str() +
                      ": expected one JSON object, found a number beyond a double (" +
                      what.substr(what.find("] ") + 2, 80) + ")");
    }
    if (!object_.is_object()) {
      throw DataError(place_.str() + ": expected one JSON object, found " + describe(object_));
    }
  }

  [[noreturn]] void fail(const std::string& field, const std::string& expected,
                         const std::string& found) const {
    throw DataError(place_.str() + ": " + field + ": expected " + expected + ", found " + found);
  }

  /// Null if the record has no such field.
  const Json* find(const std::string& field) const {
    const auto found = object_.find(field);
    return found == object_.end() ? nullptr : &*found;
  }

  const Json& require(const std::string& field, const std::string& expected) const {
    if (const Json* value = find(field)) return *value;
    fail(field, expected, "no such field");
  }

  /// A string that holds more than white space.
  std::string text(const std::string& field, const Json& value, const std::string& expected) const {
    if (!value.is_string() || strip_whitespace(value.get_ref<const std::string&>()).empty()) {
      fail(field, expected, describe(value));
    }
    return value.get<std::string>();
  }

  /// A list of such strings, `min_items` or more.
  std::vector<std::string> texts(const std::string& field, const Json& value,
                                 const std::string& expected, std::size_t min_items = 1) const {
    if (!value.is_array() || value.size() < min_items) fail(field, expected, describe(value));
    std::vector<std::string> items;
    items.reserve(value.size());
    for (std::size_t i = 0; i < value.size(); ++i) {
      items.push_back(text(field + "[" + std::to_string(i) + "]", value[i], "text"));
    }
    return items;
  }

  /// `docs`, `context` or `content`: the first that holds a list, as ml-clara's loader picks it.
  std::string documents_field(const std::string& expected) const {
    static const std::array<std::string, 3> kNames = {"docs", "context", "content"};
    std::string first_present;
    for (const std::string& name : kNames) {
      const Json* value = find(name);
      if (value != nullptr && value->is_array()) return name;
      if (value != nullptr && first_present.empty()) first_present = name;
    }
    if (first_present.empty()) fail("docs", expected, "no such field, nor context or content");
    return first_present;
  }

 private:
  // nlohmann's message without its class name and position, which the place already gives. What it
  // quotes may end inside a character.
  static std::string reason(const std::string& message) {
    const std::size_t start = message.find(": ");
    return drop_invalid_utf8(start == std::string::npos ? message : message.substr(start + 2));
  }

  const RecordPlace& place_;
  Json object_;
};

// Whether `number` is a whole number from `least` to `most`.
bool is_whole(const Json& number, std::int64_t least, std::int64_t most) {
  const auto value = whole_number<std::int64_t>(number);
  return value && *value >= least && *value <= most;
}

void add_once(std::vector<std::string>& texts, std::string text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.push_back(std::move(text));
}

std::vector<std::string> read_documents(const RecordReader& reader, const RecordLimits& limits) {
  const std::string expected = "1 to " + std::to_string(limits.max_documents) + " strings";
  const std::string field = reader.documents_field(expected);
  const Json& value = reader.require(field, expected);
  if (value.is_array() && value.size() > static_cast<std::size_t>(limits.max_documents)) {
    reader.fail(field, expected,
                describe(value) + " (a row may have at most " +
                    std::to_string(limits.max_documents) + " documents)");
  }
  return reader.texts(field, value, expected);
}

std::vector<std::string> read_answers(const RecordReader& reader) {
  std::vector<std::string> answers;
  const auto add_list = [&](const std::string& field, const Json& value,
                            const std::string& expected) {
    for (std::string& text : reader.texts(field, value, expected)) {
      add_once(answers, std::move(text));
    }
  };
  if (const Json* value = reader.find("answer")) {
    add_once(answers, reader.text("answer", *value, "a string"));
  }
  for (const char* field : {"answers", "golden_answers"}) {
    if (const Json* value = reader.find(field)) add_list(field, *value, "a list of strings");
  }
  if (const Json* value = reader.find("gold_answer")) {
    const char* expected = "a string or a list of strings";
    if (value->is_array()) {
      add_list("gold_answer", *value, expected);
    } else {
      add_once(answers, reader.text("gold_answer", *value, expected));
    }
  }
  if (answers.empty()) {
    reader.fail("answer", "a string", "no such field, nor answers, golden_answers or gold_answer");
  }
  return answers;
}

std::vector<std::int32_t> read_positives(const RecordReader& reader, std::size_t num_documents) {
  std::vector<std::int32_t> positives;
  const Json* value = reader.find("pos_index");
  if (value == nullptr) return positives;
  if (!value->is_array()) reader.fail("pos_index", "a list of whole numbers", describe(*value));
  const auto last = static_cast<std::int64_t>(num_documents) - 1;
  for (std::size_t i = 0; i < value->size(); ++i) {
    const Json& item = (*value)[i];
    if (!is_whole(item, 0, last)) {
      reader.fail("pos_index[" + std::to_string(i) + "]",
                  "the number of a document from 0 to " + std::to_string(last), describe(item));
    }
    const auto index = item.get<std::int32_t>();
    if (std::find(positives.begin(), positives.end(), index) == positives.end()) {
      positives.push_back(index);
    }
  }
  return positives;
}

}  // namespace

ScpRecord parse_scp_record(std::string_view json, const RecordPlace& place,
                           const RecordLimits& limits) {
  const RecordReader reader(json, place);
  ScpRecord record;
  record.place = place;
  if (const Json* type = reader.find("data_type")) {
    if (*type == "paraphrase") {
      record.kind = ScpRecord::Kind::kParaphrase;
    } else if (*type != "qa") {
      reader.fail("data_type", "\"qa\" or \"paraphrase\"", describe(*type));
    }
  }
  std::vector<std::string> documents = read_documents(reader, limits);
  if (documents.size() != 1) {
    reader.fail(reader.documents_field(""), "a list of one string",
                "a list of " + std::to_string(documents.size()));
  }
  record.document = std::move(documents.front());

  const std::string strings = "a list of strings";
  record.answers = reader.texts("answers", reader.require("answers", strings), strings);
  if (record.kind == ScpRecord::Kind::kQa) {
    record.questions = reader.texts("question", reader.require("question", strings), strings);
    if (record.questions.size() != record.answers.size()) {
      reader.fail(
          "answers",
          "as many strings as question has (" + std::to_string(record.questions.size()) + ")",
          "a list of " + std::to_string(record.answers.size()));
    }
  } else if (const Json* instruction = reader.find("instruction")) {
    if (!is_whole(*instruction, 1, 13)) {
      reader.fail("instruction", "a whole number from 1 to 13", describe(*instruction));
    }
    record.instruction = instruction->get<int>();
  }
  return record;
}

QaRecord parse_qa_record(std::string_view json, const RecordPlace& place,
                         const RecordLimits& limits) {
  const RecordReader reader(json, place);
  QaRecord record;
  record.place = place;
  if (const Json* id = reader.find("id")) {
    if (id->is_number_integer()) {
      record.id = id->dump();
    } else {
      record.id = reader.text("id", *id, "a string or a whole number");
    }
  }
  record.question = reader.text("question", reader.require("question", "a string"), "a string");
  record.documents = read_documents(reader, limits);
  record.answers = read_answers(reader);
  record.positives = read_positives(reader, record.documents.size());
  if (const Json* gold = reader.find("gold_docs")) {
    record.gold_documents = reader.texts("gold_docs", *gold, "a list of strings", 0);
  }
  return record;
}

}  // namespace clara
