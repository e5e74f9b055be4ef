// Schemas beside the readers of what they describe.
#include "synthesis/teacher_answers.h"

#include <array>
#include <cstdint>
#include <utility>

#include "common/parse_json.h"
#include "synthesis/lenient_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/text.h"

namespace clara {

using Json = nlohmann::json;

const AnswerSchema kPairsSchema = {
    "question_answer_pairs",
    R"({"type":"object","properties":{"pairs":{"type":"array","items":{"type":"object","properties":{"question":{"type":"string"},"answer":{"type":"string"}},"required":["question","answer"],"additionalProperties":false}}},"required":["pairs"],"additionalProperties":false})"};

const AnswerSchema kParaphraseSchema = {
    "paraphrase",
    R"({"type":"object","properties":{"paraphrase":{"type":"string"}},"required":["paraphrase"],"additionalProperties":false})"};

const AnswerSchema kQuestionsVerdictSchema = {
    "coverage_of_questions",
    R"({"type":"object","properties":{"covered":{"type":"array","items":{"type":"string"}},"missing":{"type":"array","items":{"type":"string"}},"wrong":{"type":"array","items":{"type":"integer"}},"complete":{"type":"boolean"}},"required":["covered","missing","wrong","complete"],"additionalProperties":false})"};

const AnswerSchema kParaphraseVerdictSchema = {
    "coverage_of_paraphrase",
    R"({"type":"object","properties":{"covered":{"type":"array","items":{"type":"string"}},"missing":{"type":"array","items":{"type":"string"}},"wrong":{"type":"array","items":{"type":"string"}},"complete":{"type":"boolean"}},"required":["covered","missing","wrong","complete"],"additionalProperties":false})"};

namespace {

constexpr std::array<const char*, 4> kPairsNames = {"pairs", "qa_pairs", "questions", "items"};

std::string stripped(const Json& text) {
  return std::string(strip_whitespace(text.get_ref<const std::string&>()));
}

const Json* find_member(const Json& value, const char* name) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(name);
  return found == value.end() ? nullptr : &*found;
}

bool names_a_pair(const Json& value) {
  return find_member(value, "question") != nullptr && find_member(value, "answer") != nullptr;
}

// The values in an answer that JSON can be made of.
std::vector<Json> values_of(std::string_view answer) {
  std::vector<Json> values;
  for (const std::string& text : find_json(answer)) {
    Json value = parse_json<Json>(text);
    if (!value.is_discarded()) values.push_back(std::move(value));
  }
  return values;
}

void add_pair(const Json& item, PairsAnswer& answer) {
  const Json* question = find_member(item, "question");
  const Json* text = find_member(item, "answer");
  if (question == nullptr || text == nullptr || !question->is_string() || !text->is_string()) {
    ++answer.num_malformed;
    return;
  }
  answer.pairs.push_back({stripped(*question), stripped(*text)});
}

// The list of pairs that `value` is or holds.
const Json* list_of_pairs(const Json& value) {
  if (value.is_array()) return &value;
  for (const char* name : kPairsNames) {
    const Json* member = find_member(value, name);
    if (member != nullptr && member->is_array()) return member;
  }
  return nullptr;
}

std::optional<std::vector<std::string>> texts_of(const Json& value) {
  if (!value.is_array()) return std::nullopt;
  std::vector<std::string> texts;
  for (const Json& item : value) {
    if (!item.is_string()) return std::nullopt;
    std::string text = stripped(item);
    if (!text.empty()) texts.push_back(std::move(text));
  }
  return texts;
}

bool read_wrong(const Json& wrong, std::size_t num_pairs, Verdict& verdict) {
  if (num_pairs == 0) {
    auto claims = texts_of(wrong);
    if (!claims) return false;
    verdict.wrong_claims = std::move(*claims);
    return true;
  }
  if (!wrong.is_array()) return false;
  for (const Json& item : wrong) {
    if (!item.is_number_integer()) return false;
    const auto number = item.get<std::int64_t>();
    if (number < 1 || static_cast<std::uint64_t>(number) > num_pairs) return false;
    verdict.wrong_pairs.push_back(static_cast<std::size_t>(number - 1));
  }
  return true;
}

std::optional<Verdict> verdict_of(const Json& value, std::size_t num_pairs) {
  const Json* complete = find_member(value, "complete");
  const Json* missing = find_member(value, "missing");
  const Json* covered = find_member(value, "covered");
  const Json* wrong = find_member(value, "wrong");
  if (complete == nullptr || !complete->is_boolean() || missing == nullptr) return std::nullopt;
  if (covered != nullptr && !texts_of(*covered)) return std::nullopt;
  auto facts = texts_of(*missing);
  if (!facts) return std::nullopt;
  Verdict verdict;
  verdict.missing = std::move(*facts);
  if (wrong != nullptr && !read_wrong(*wrong, num_pairs, verdict)) return std::nullopt;
  verdict.is_complete = complete->get<bool>() && verdict.missing.empty() &&
                        verdict.wrong_pairs.empty() && verdict.wrong_claims.empty();
  return verdict;
}

}  // namespace

std::optional<PairsAnswer> read_pairs(std::string_view answer) {
  PairsAnswer result;
  bool is_found = false;
  for (const Json& value : values_of(answer)) {
    if (names_a_pair(value)) {
      is_found = true;
      add_pair(value, result);
    } else if (const Json* list = list_of_pairs(value)) {
      // [1] in prose is a list too.
      for (const Json& item : *list) {
        is_found = is_found || item.is_object();
        add_pair(item, result);
      }
    }
  }
  if (!is_found) return std::nullopt;
  return result;
}

std::optional<std::string> read_paraphrase(std::string_view answer) {
  for (const Json& value : values_of(answer)) {
    const Json* text = find_member(value, "paraphrase");
    if (text != nullptr && text->is_string()) return stripped(*text);
  }
  return std::nullopt;
}

std::optional<Verdict> read_verdict(std::string_view answer, std::size_t num_pairs) {
  for (const Json& value : values_of(answer)) {
    if (auto verdict = verdict_of(value, num_pairs)) return verdict;
  }
  return std::nullopt;
}

}  // namespace clara
