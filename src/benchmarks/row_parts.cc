// Lists and columns of passages, and the way from supporting facts to passages.
#include "benchmarks/row_parts.h"

#include <algorithm>

#include "clara/common/text.h"

namespace clara {
namespace {

std::vector<BenchmarkPassage> passages_of_pairs(const JsonValue& context) {
  constexpr std::string_view kExpected = "a pair of title and list of sentences";
  std::vector<BenchmarkPassage> passages;
  for (const JsonValue& item : context.items()) {
    const std::vector<JsonValue> pair = item.items(kExpected);
    if (pair.size() != 2) item.fail(kExpected);
    BenchmarkPassage passage;
    passage.title = pair[0].text("a title");
    passage.sentences = texts_of(pair[1]);
    passages.push_back(std::move(passage));
  }
  return passages;
}

std::vector<BenchmarkPassage> passages_of_columns(const JsonValue& context) {
  const std::vector<JsonValue> titles = context.require("title", "a list of titles").items();
  const auto column = context.find("content");
  const JsonValue texts = column ? *column : context.require("sentences", "lists of sentences");
  const std::vector<JsonValue> sentences = texts.items();
  if (sentences.size() != titles.size()) {
    texts.fail("as many lists as there are titles (" + std::to_string(titles.size()) + ")");
  }
  std::vector<BenchmarkPassage> passages(titles.size());
  for (std::size_t i = 0; i < titles.size(); ++i) {
    passages[i].title = titles[i].text("a title");
    passages[i].sentences = texts_of(sentences[i]);
  }
  return passages;
}

}  // namespace

std::string required_text(const JsonValue& object, std::string_view name) {
  const JsonValue value = object.require(name, "a string");
  const std::string_view text = value.text();
  if (strip_whitespace(text).empty()) value.fail("a string");
  return std::string(text);
}

BenchmarkQuestion begin_question(const JsonValue& row, std::string_view id_field,
                                 std::string_view text_field) {
  BenchmarkQuestion question;
  if (const auto id = row.find(id_field)) question.id = id->id();
  question.question = required_text(row, text_field);
  return question;
}

std::vector<std::string> texts_of(const JsonValue& list) {
  std::vector<std::string> texts;
  for (const JsonValue& item : list.items("a list of strings")) texts.emplace_back(item.text());
  return texts;
}

void add_once(std::vector<std::string>& texts, std::string_view text) {
  if (std::find(texts.begin(), texts.end(), text) == texts.end()) texts.emplace_back(text);
}

void add_answer(BenchmarkQuestion& question, std::string_view answer) {
  if (!strip_whitespace(answer).empty()) add_once(question.answers, answer);
}

void add_answers(BenchmarkQuestion& question, const JsonValue& answers) {
  constexpr std::string_view kExpected = "a string or a list of strings";
  if (answers.is_text()) {
    add_answer(question, answers.text());
    return;
  }
  for (const JsonValue& answer : answers.items(kExpected)) add_answer(question, answer.text());
}

std::vector<BenchmarkPassage> read_titled_passages(const JsonValue& context) {
  return context.is_object() ? passages_of_columns(context) : passages_of_pairs(context);
}

std::vector<SupportingFact> read_supporting_facts(const JsonValue& facts) {
  std::vector<SupportingFact> all;
  if (facts.is_object()) {
    const std::vector<JsonValue> titles = facts.require("title", "a list of titles").items();
    const JsonValue column = facts.require("sent_id", "a list of whole numbers");
    const std::vector<JsonValue> sentences = column.items();
    if (sentences.size() != titles.size()) {
      column.fail("as many numbers as there are titles (" + std::to_string(titles.size()) + ")");
    }
    for (std::size_t i = 0; i < titles.size(); ++i) {
      all.push_back({titles[i].text("a title"), sentences[i].whole_number()});
    }
    return all;
  }
  constexpr std::string_view kExpected = "a pair of title and sentence number";
  for (const JsonValue& item : facts.items()) {
    const std::vector<JsonValue> pair = item.items(kExpected);
    if (pair.size() != 2) item.fail(kExpected);
    all.push_back({pair[0].text("a title"), pair[1].whole_number()});
  }
  return all;
}

void mark_supporting_passages(BenchmarkQuestion& question,
                              const std::vector<SupportingFact>& facts) {
  question.has_relevance = true;
  std::vector<std::string> missing_titles;
  for (const SupportingFact& fact : facts) {
    add_once(question.supporting_titles, fact.title);
    bool has_title = false;
    bool has_sentence = false;
    const auto holds = [&](const BenchmarkPassage& passage) {
      return fact.sentence >= 0 &&
             fact.sentence < static_cast<std::int64_t>(passage.sentences.size());
    };
    for (BenchmarkPassage& passage : question.passages) {
      if (passage.title != fact.title) continue;
      has_title = true;
      if (!holds(passage)) continue;
      has_sentence = true;
      passage.is_relevant = true;
    }
    if (!has_title) add_once(missing_titles, fact.title);
    if (!has_title || has_sentence) continue;
    ++question.num_missing_sentences;
    for (BenchmarkPassage& passage : question.passages) {
      if (passage.title == fact.title) passage.is_relevant = true;
    }
  }
  question.num_missing_titles = static_cast<std::int32_t>(missing_titles.size());
}

}  // namespace clara
