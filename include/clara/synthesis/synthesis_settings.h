// What clara-data synthesize makes of a document, and what it demands of an answer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// The rows that a document may become, one of each kind (paper, section 3.1).
enum class SynthesisKind {
  kSimpleQa,    ///< "simple_qa": questions about one fact each
  kComplexQa,   ///< "complex_qa": questions that join several facts
  kParaphrase,  ///< "paraphrase": the document in other words
};

inline constexpr SynthesisKind kSynthesisKinds[] = {
    SynthesisKind::kSimpleQa, SynthesisKind::kComplexQa, SynthesisKind::kParaphrase};

std::string to_string(SynthesisKind kind);
/// The kind of a name. Throws ConfigError that lists the names.
SynthesisKind parse_synthesis_kind(std::string_view name);

/// Limits of the checks that need no teacher. Words are counted without case and punctuation; in
/// scripts without blanks a character is a word.
struct CheckSettings {
  /// simple_qa: the answer's words that must stand in the document, as a share; 0 = off
  double min_grounding = 0.6;
  /// complex_qa: the same; an answer that is concluded may have words of its own
  double min_grounding_complex = 0;
  /// two questions of a row that share more of their words (Jaccard) are one
  double max_question_overlap = 0.8;
  bool refuses_leaks = true;  ///< an answer that stands in its question is dropped
  std::int64_t max_question_characters = 600;
  std::int64_t max_answer_characters = 1000;
  /// paraphrase: the share of its runs of 4 words that the document has too
  double max_run_overlap = 0.6;
  /// paraphrase: the share of its words that the document has too
  double min_word_overlap = 0.2;
  double min_length_ratio = 0.5;  ///< paraphrase: words of it by words of the document
  double max_length_ratio = 2.0;
};

struct SynthesisSettings {
  std::vector<SynthesisKind> kinds = {SynthesisKind::kSimpleQa, SynthesisKind::kComplexQa,
                                      SynthesisKind::kParaphrase};
  std::int64_t num_pairs = 5;    ///< questions asked for at first
  std::int64_t max_pairs = 24;   ///< of a row, those of later rounds included
  std::int64_t max_rounds = 10;  ///< of writing (and judging) before a row is given up
  std::int64_t min_document_words = 8;
  std::int64_t max_document_characters = 20000;  ///< longer ones are not sent
  double temperature = 0.7;                      ///< of writing; judging: 0
  std::uint64_t seed = 17;
  std::int64_t max_answer_tokens = 1024;
  CheckSettings checks;
};

}  // namespace clara
