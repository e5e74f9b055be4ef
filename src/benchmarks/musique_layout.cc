// MuSiQue, answerable and full: paragraphs that say themselves whether they support the answer.
#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

namespace clara {

bool is_musique(const JsonValue& row) {
  const auto paragraphs = row.find("paragraphs");
  return paragraphs && paragraphs->is_list() && row.find("question");
}

BenchmarkRecord read_musique(const JsonValue& row) {
  BenchmarkQuestion question = begin_question(row, "id", "question");
  if (const auto answer = row.find("answer")) add_answer(question, answer->text());
  if (const auto aliases = row.find("answer_aliases")) add_answers(question, *aliases);
  // An unanswerable question keeps the answer that its twin with all paragraphs has.
  if (const auto answerable = row.find("answerable")) {
    question.is_answerable = answerable->truth();
  }
  for (const JsonValue& item : row.require("paragraphs", "a list of paragraphs").items()) {
    BenchmarkPassage passage;
    passage.title = item.require("title", "a title").text("a title");
    passage.sentences.emplace_back(item.require("paragraph_text", "a string").text());
    // The published test set does not say which paragraphs support the answer.
    if (const auto is_supporting = item.find("is_supporting")) {
      question.has_relevance = true;
      passage.is_relevant = is_supporting->truth();
    }
    if (passage.is_relevant) add_once(question.supporting_titles, passage.title);
    question.passages.push_back(std::move(passage));
  }
  return question;
}

}  // namespace clara
