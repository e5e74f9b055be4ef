// What the layouts have in common: answers, texts, passages with titles, supporting facts.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/benchmarks/benchmark_question.h"
#include "clara/data/json_row.h"

namespace clara {

/// A string that holds more than white space.
std::string required_text(const JsonValue& object, std::string_view name);

/// A question with its text and, where the row has one, its id.
BenchmarkQuestion begin_question(const JsonValue& row, std::string_view id_field,
                                 std::string_view text_field);

/// Texts of a list of strings.
std::vector<std::string> texts_of(const JsonValue& list);

/// Adds `text` unless it is there already.
void add_once(std::vector<std::string>& texts, std::string_view text);

/// Adds an answer, if it holds more than white space and is not there yet.
void add_answer(BenchmarkQuestion& question, std::string_view answer);
/// Answers of a list of strings, or of one string.
void add_answers(BenchmarkQuestion& question, const JsonValue& answers);

/// A sentence that supports the answer.
struct SupportingFact {
  std::string_view title;
  std::int64_t sentence = 0;
};

/// `context` as a list of [title, [sentences]], or as {"title": [...], "sentences": [[...]]}
/// ("content" instead of "sentences" is known too).
std::vector<BenchmarkPassage> read_titled_passages(const JsonValue& context);
/// `supporting_facts` as a list of [title, sentence], or as {"title": [...], "sent_id": [...]}.
std::vector<SupportingFact> read_supporting_facts(const JsonValue& facts);

/// Marks the passages that `facts` name. Titles may repeat: of several passages with a title those
/// count that have the sentence, or all of them if none has it.
void mark_supporting_passages(BenchmarkQuestion& question,
                              const std::vector<SupportingFact>& facts);

}  // namespace clara
