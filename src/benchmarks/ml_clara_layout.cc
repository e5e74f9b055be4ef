// Rows of apple/ml-clara, which this project's records are like: documents are texts as they stand.
#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

#include "clara/common/text.h"

namespace clara {
namespace {

// `docs`, `context` or `content`: the first that holds a list, as ml-clara's loader picks it.
std::optional<JsonValue> find_documents(const JsonValue& row) {
  for (const char* field : {"docs", "context", "content"}) {
    const auto value = row.find(field);
    if (value && value->is_list()) return value;
  }
  return std::nullopt;
}

bool is_pretraining(const JsonValue& row) {
  const auto type = row.find("data_type");
  const auto question = row.find("question");
  return (type && type->is_text() && type->text() == "paraphrase") ||
         (question && question->is_list());
}

std::vector<std::string> filled_texts(const JsonValue& list) {
  std::vector<std::string> texts;
  for (const JsonValue& item : list.items("a list of strings")) {
    if (strip_whitespace(item.text()).empty()) item.fail("text");
    texts.emplace_back(item.text());
  }
  return texts;
}

ScpRecord read_pretraining(const JsonValue& row) {
  ScpRecord record;
  const auto documents = find_documents(row);
  if (!documents) row.require("docs", "a list of one string").fail("a list of one string");
  const std::vector<std::string> texts = filled_texts(*documents);
  if (texts.size() != 1) documents->fail("a list of one string");
  record.document = texts.front();
  const JsonValue answers = row.require("answers", "a list of strings");
  record.answers = filled_texts(answers);
  if (record.answers.empty()) answers.fail("a list of strings");
  const auto type = row.find("data_type");
  if (type && type->text() == "paraphrase") {
    record.kind = ScpRecord::Kind::kParaphrase;
    if (const auto instruction = row.find("instruction")) {
      const std::int64_t number = instruction->whole_number("a whole number from 1 to 13");
      if (number < 1 || number > 13) instruction->fail("a whole number from 1 to 13");
      record.instruction = static_cast<int>(number);
    }
    return record;
  }
  if (type && type->text() != "qa") type->fail("\"qa\" or \"paraphrase\"");
  record.questions = filled_texts(row.require("question", "a list of strings"));
  if (record.questions.size() != record.answers.size()) {
    answers.fail("as many strings as question has (" + std::to_string(record.questions.size()) +
                 ")");
  }
  return record;
}

void mark_positives(const JsonValue& list, BenchmarkQuestion& question) {
  question.has_relevance = true;
  const std::string expected =
      "the number of a document from 0 to " + std::to_string(question.passages.size() - 1);
  for (const JsonValue& item : list.items("a list of whole numbers")) {
    const std::int64_t index = item.whole_number(expected);
    if (index < 0 || index >= static_cast<std::int64_t>(question.passages.size())) {
      item.fail(expected);
    }
    question.passages[static_cast<std::size_t>(index)].is_relevant = true;
  }
}

}  // namespace

bool is_ml_clara(const JsonValue& row) {
  const auto documents = find_documents(row);
  if (!documents) return false;
  const std::vector<JsonValue> items = documents->items();
  return !items.empty() && items.front().is_text();
}

BenchmarkRecord read_ml_clara(const JsonValue& row) {
  if (is_pretraining(row)) return read_pretraining(row);
  BenchmarkQuestion question = begin_question(row, "id", "question");
  for (const char* field : {"answer", "answers", "golden_answers", "gold_answer"}) {
    if (const auto answers = row.find(field)) add_answers(question, *answers);
  }
  const auto documents = find_documents(row);
  if (!documents) row.require("docs", "a list of strings").fail("a list of strings");
  std::vector<std::string> texts = filled_texts(*documents);
  if (texts.empty()) documents->fail("a list of strings");
  for (std::string& text : texts) {
    BenchmarkPassage passage;
    passage.sentences.push_back(std::move(text));
    passage.is_document = true;
    question.passages.push_back(std::move(passage));
  }
  if (const auto positives = row.find("pos_index")) mark_positives(*positives, question);
  return question;
}

}  // namespace clara
