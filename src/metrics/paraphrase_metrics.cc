// Words of a text, then counts of what two texts share.
#include "clara/metrics/paraphrase_metrics.h"

#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <utility>

#include "metrics/unicode_text.h"

namespace clara {
namespace {

// English words that stand at the beginning of a sentence without naming anything.
const std::set<std::string, std::less<>> kFunctionWords = {
    "a",     "about", "after", "all",   "also",  "although", "an",   "and",   "another", "as",
    "at",    "based", "be",    "but",   "by",    "during",   "each", "for",   "from",    "he",
    "her",   "here",  "his",   "how",   "i",     "if",       "in",   "into",  "is",      "it",
    "its",   "later", "many",  "most",  "no",    "not",      "of",   "on",    "one",     "or",
    "other", "our",   "she",   "since", "so",    "some",     "such", "that",  "the",     "their",
    "then",  "there", "these", "they",  "this",  "those",    "to",   "under", "until",   "was",
    "we",    "what",  "when",  "where", "which", "while",    "who",  "with",  "you"};

/// Runs of letters and digits; the underscore of \w separates.
std::vector<std::u32string> words_of(std::string_view text) {
  std::vector<std::u32string> words;
  std::u32string word;
  for (const char32_t c : unicode::decode(text)) {
    if (unicode::is_word(c) && c != U'_') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
      word.clear();
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

double f1(double shared, std::size_t num_candidate, std::size_t num_reference) {
  if (shared == 0) return 0;
  return 2 * shared / static_cast<double>(num_candidate + num_reference);
}

/// What two multisets share.
template <typename T>
double num_shared(const std::vector<T>& a, const std::vector<T>& b) {
  std::map<T, std::int64_t> counts;
  for (const T& item : a) ++counts[item];
  double shared = 0;
  for (const T& item : b) {
    const auto found = counts.find(item);
    if (found != counts.end() && found->second-- > 0) ++shared;
  }
  return shared;
}

std::vector<std::pair<std::string, std::string>> bigrams_of(const std::vector<std::string>& words) {
  std::vector<std::pair<std::string, std::string>> bigrams;
  for (std::size_t i = 1; i < words.size(); ++i) bigrams.emplace_back(words[i - 1], words[i]);
  return bigrams;
}

std::size_t longest_common_subsequence(const std::vector<std::string>& a,
                                       const std::vector<std::string>& b) {
  std::vector<std::size_t> row(b.size() + 1, 0);  // of the words of `a` so far
  for (const std::string& word : a) {
    std::size_t diagonal = 0;
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t above = row[j + 1];
      row[j + 1] = word == b[j] ? diagonal + 1 : std::max(above, row[j]);
      diagonal = above;
    }
  }
  return row.back();
}

bool has_digit(const std::u32string& word) {
  return std::any_of(word.begin(), word.end(), [](char32_t c) { return c >= U'0' && c <= U'9'; });
}

}  // namespace

std::vector<std::string> lower_words(std::string_view text) {
  std::vector<std::string> words;
  for (const std::u32string& word : words_of(text))
    words.push_back(unicode::encode(unicode::to_lower(word)));
  return words;
}

RougeScores rouge_scores(std::string_view candidate, std::string_view reference) {
  const std::vector<std::string> a = lower_words(candidate), b = lower_words(reference);
  const auto bigrams_a = bigrams_of(a), bigrams_b = bigrams_of(b);
  return {f1(num_shared(a, b), a.size(), b.size()),
          f1(num_shared(bigrams_a, bigrams_b), bigrams_a.size(), bigrams_b.size()),
          f1(static_cast<double>(longest_common_subsequence(a, b)), a.size(), b.size())};
}

std::vector<std::string> name_words(std::string_view text) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const std::u32string& word : words_of(text)) {
    const std::u32string lower = unicode::to_lower(word);
    const bool begins_with_capital = lower.front() != word.front();
    std::string name = unicode::encode(lower);
    if (!has_digit(word) && (!begins_with_capital || kFunctionWords.contains(name))) continue;
    if (seen.insert(name).second) names.push_back(std::move(name));
  }
  return names;
}

double name_recall(std::string_view candidate, std::string_view reference) {
  const std::vector<std::string> names = name_words(reference);
  if (names.empty()) return 1;
  const std::vector<std::string> words = lower_words(candidate);
  const std::set<std::string> present(words.begin(), words.end());
  const auto num_kept = std::count_if(
      names.begin(), names.end(), [&](const std::string& name) { return present.contains(name); });
  return static_cast<double>(num_kept) / static_cast<double>(names.size());
}

}  // namespace clara
