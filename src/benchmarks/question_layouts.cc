// Layouts of questions whose passages stand elsewhere: NQ-open, KILT, FlashRAG.
#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

namespace clara {

bool is_nq_open(const JsonValue& row) {
  const auto question = row.find("question");
  const bool has_passages =
      row.find("docs") || row.find("context") || row.find("content") || row.find("ctxs");
  return question && question->is_text() && (row.find("answer") || row.find("answers")) &&
         !has_passages;
}

BenchmarkRecord read_nq_open(const JsonValue& row) {
  BenchmarkQuestion question = begin_question(row, "id", "question");
  for (const char* field : {"answer", "answers"}) {
    if (const auto answers = row.find(field)) add_answers(question, *answers);
  }
  return question;
}

bool is_kilt(const JsonValue& row) {
  const auto input = row.find("input");
  return input && input->is_text() && row.find("output");
}

BenchmarkRecord read_kilt(const JsonValue& row) {
  BenchmarkQuestion question = begin_question(row, "id", "input");
  const auto output = row.find("output");
  if (!output) return question;
  for (const JsonValue& item : output->items()) {
    // An output may have only an answer, or only its provenance.
    if (const auto answer = item.find("answer")) add_answer(question, answer->text());
    const auto provenance = item.find("provenance");
    if (!provenance) continue;
    for (const JsonValue& source : provenance->items()) {
      if (const auto title = source.find("title")) {
        add_once(question.supporting_titles, title->text());
      }
    }
  }
  question.num_missing_titles = static_cast<std::int32_t>(question.supporting_titles.size());
  return question;
}

bool is_flash_rag(const JsonValue& row) {
  const bool has_documents = row.find("docs") || row.find("context") || row.find("content");
  return row.find("golden_answers") && row.find("question") && !has_documents;
}

BenchmarkRecord read_flash_rag(const JsonValue& row) {
  BenchmarkQuestion question = begin_question(row, "id", "question");
  add_answers(question, row.require("golden_answers", "a list of strings"));
  const auto metadata = row.find("metadata");
  if (!metadata) return question;
  if (const auto type = metadata->find("type"); type && type->is_text()) {
    question.type = type->text();
  }
  // HotpotQA and 2Wiki keep their context there; other sets have none.
  const auto context = metadata->find("context");
  if (context && (context->is_object() || context->is_list())) {
    question.passages = read_titled_passages(*context);
  }
  if (const auto facts = metadata->find("supporting_facts")) {
    mark_supporting_passages(question, read_supporting_facts(*facts));
  }
  return question;
}

}  // namespace clara
