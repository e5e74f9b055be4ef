// How right an answer is: normalisation, EM, F1 and cover match (numerics §9; the HotpotQA script's
// rules). Std only.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace clara {

/// The text "True" or "False" alone becomes "yes" or "no"; then lower case (Python's str.lower()),
/// ASCII punctuation removed, the words a, an, the removed, white space (Unicode) collapsed to
/// single spaces. UTF-8 in and out; every ill-formed byte becomes U+FFFD.
std::string normalize_answer(std::string_view text);

/// The normalised texts are equal.
bool exact_match(std::string_view prediction, std::string_view gold);

/// Harmonic mean of precision and recall over the tokens as multisets, in [0, 1]; 0 if either text
/// is yes, no or noanswer and they differ, and 0 where no token is shared (two empty texts too).
double f1_score(std::string_view prediction, std::string_view gold);

/// CEM ("ACC" in the paper): every gold token occurs among the prediction's tokens, in any order
/// and however often. An empty gold never matches.
bool cover_exact_match(std::string_view prediction, std::string_view gold);

/// The gold tokens occur in the prediction in a row. An empty gold never matches.
bool contiguous_cover_match(std::string_view prediction, std::string_view gold);

/// Scores of one answer, or their means; each in [0, 1].
struct AnswerScores {
  double exact_match = 0;
  double f1 = 0;
  double cover_exact_match = 0;
  double contiguous_cover_match = 0;
};

/// Which gold answers count.
enum class GoldProtocol {
  kFirst,  ///< the first one only, as the published tables
  kBest,   ///< the maximum over all answers and aliases, each score by itself
};

/// Throws std::invalid_argument if `golds` is empty.
AnswerScores score_answer(std::string_view prediction, std::span<const std::string> golds,
                          GoldProtocol protocol);

/// Means over questions.
struct AnswerSummary {
  AnswerScores mean;  ///< zeros where num_questions is 0
  std::int64_t num_questions = 0;
};

AnswerSummary summarize_answers(std::span<const AnswerScores> scores);

}  // namespace clara
