// HotpotQA and 2WikiMultihopQA: paragraphs as titles with sentences, supporting facts by title.
#include "benchmarks/layouts.h"
#include "benchmarks/row_parts.h"

namespace clara {

bool is_two_wiki(const JsonValue& row) {
  const bool has_evidences = row.find("evidences") || row.find("evidences_id") ||
                             row.find("entity_ids") || row.find("answer_id");
  return has_evidences && is_hotpot_qa(row);
}

bool is_hotpot_qa(const JsonValue& row) {
  const auto context = row.find("context");
  if (!context || !row.find("question")) return false;
  if (context->is_object()) return context->find("title").has_value();
  if (!context->is_list()) return false;
  const std::vector<JsonValue> items = context->items();
  return items.empty() ? row.find("supporting_facts").has_value() : items.front().is_list();
}

BenchmarkRecord read_titled_context(const JsonValue& row) {
  BenchmarkQuestion question;
  if (const auto id = row.find("_id")) {
    question.id = id->id();
  } else if (const auto plain_id = row.find("id")) {
    question.id = plain_id->id();
  }
  question.question = required_text(row, "question");
  // The published test sets have neither answer nor supporting facts.
  if (const auto answer = row.find("answer")) add_answer(question, answer->text());
  if (const auto entity = row.find("answer_id")) question.answer_id = entity->text();
  if (const auto type = row.find("type")) question.type = type->text();
  question.passages = read_titled_passages(row.require("context", "a list of passages"));
  if (const auto facts = row.find("supporting_facts")) {
    mark_supporting_passages(question, read_supporting_facts(*facts));
  }
  return question;
}

}  // namespace clara
