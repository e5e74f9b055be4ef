// How much of a document a paraphrase keeps: ROUGE and the names and numbers that come through.
// Std only.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Runs of letters and digits of any script, in their order, in lower case (UTF-8).
std::vector<std::string> lower_words(std::string_view text);

/// F1 of shared unigrams, shared bigrams (as multisets) and the longest common subsequence of words
/// (Lin 2004), each in [0, 1]; 0 where either text has no words (bigrams: fewer than two).
struct RougeScores {
  double rouge_1 = 0;
  double rouge_2 = 0;
  double rouge_l = 0;
};

/// Over lower_words, without stemming: on ASCII text what Google's rouge_score computes.
RougeScores rouge_scores(std::string_view candidate, std::string_view reference);

/// Names and numbers of a text, in their order, each once, in lower case: words that hold a digit
/// or begin with a capital letter, but for English function words ("The", "In", …), which begin
/// sentences.
std::vector<std::string> name_words(std::string_view text);

/// The share of the reference's name_words that are words of the candidate, in [0, 1]; 1 where the
/// reference has none.
double name_recall(std::string_view candidate, std::string_view reference);

}  // namespace clara
