// Layouts of retrieved passages: DPR's training files, and the "ctxs" that readers take.
#include <string>
#include <unordered_set>

#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

namespace clara {
namespace {

BenchmarkPassage read_passage(const JsonValue& item) {
  BenchmarkPassage passage;
  if (const auto title = item.find("title")) passage.title = title->text("a title");
  passage.sentences.emplace_back(item.require("text", "a string").text());
  return passage;
}

// Adds the passages of a list that were not there yet, by their number in the corpus.
void add_passages(const JsonValue& list, bool is_relevant,
                  std::unordered_set<std::string>& seen_ids, BenchmarkQuestion& question) {
  for (const JsonValue& item : list.items()) {
    auto id = item.find("passage_id");
    if (!id) id = item.find("psg_id");
    if (id && !seen_ids.insert(id->id()).second) {
      ++question.num_repeated_passages;
      continue;
    }
    BenchmarkPassage passage = read_passage(item);
    passage.is_relevant = is_relevant;
    if (is_relevant) add_once(question.supporting_titles, passage.title);
    question.passages.push_back(std::move(passage));
  }
}

}  // namespace

bool is_dpr(const JsonValue& row) { return row.find("positive_ctxs") && row.find("question"); }

BenchmarkRecord read_dpr(const JsonValue& row) {
  BenchmarkQuestion question;
  question.question = required_text(row, "question");
  add_answers(question, row.require("answers", "a list of strings"));
  question.has_relevance = true;
  question.is_ranked = true;
  std::unordered_set<std::string> seen_ids;
  add_passages(row.require("positive_ctxs", "a list of passages"), true, seen_ids, question);
  // Hard negatives first: they are what a limit on the passages should keep.
  for (const char* field : {"hard_negative_ctxs", "negative_ctxs"}) {
    if (const auto list = row.find(field)) add_passages(*list, false, seen_ids, question);
  }
  return question;
}

bool is_ranked_contexts(const JsonValue& row) {
  const auto contexts = row.find("ctxs");
  return contexts && contexts->is_list() && row.find("question");
}

BenchmarkRecord read_ranked_contexts(const JsonValue& row) {
  BenchmarkQuestion question;
  for (const char* field : {"id", "q_id"}) {
    const auto id = row.find(field);
    if (id && question.id.empty()) question.id = id->id();
  }
  question.question = required_text(row, "question");
  for (const char* field : {"answers", "answer", "target"}) {
    if (const auto answers = row.find(field)) add_answers(question, *answers);
  }
  for (const JsonValue& item : row.require("ctxs", "a list of passages").items()) {
    BenchmarkPassage passage = read_passage(item);
    // has_answer only says that the answer's text occurs.
    if (const auto is_gold = item.find("isgold")) {
      question.has_relevance = true;
      passage.is_relevant = is_gold->truth();
    }
    if (passage.is_relevant) add_once(question.supporting_titles, passage.title);
    question.passages.push_back(std::move(passage));
  }
  return question;
}

}  // namespace clara
