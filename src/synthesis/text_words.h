// Words as every language has them: what two texts share is counted in these.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// The words of a text, without case, accents' spelling and width (NFKC, case-folded): runs of
/// letters, marks and digits; of scripts that are written without blanks (Han, kana, Thai, …) each
/// character by itself. Punctuation is no word; bytes that are no UTF-8 are skipped.
std::vector<std::string> words_of(std::string_view text);

/// Whether `words` holds `part` as a run. An empty part is in nothing.
bool contains_run(const std::vector<std::string>& words, const std::vector<std::string>& part);

/// Share of `part`'s words, each as often as it stands there, that are words of `words`; 0 for
/// none.
double share_of_words(const std::vector<std::string>& part, const std::vector<std::string>& words);

/// Of two texts as sets of words: common ones by all; 0 where both are empty.
double jaccard(const std::vector<std::string>& a, const std::vector<std::string>& b);

/// Share of `part`'s runs of `n` words that are runs of `words` too. A part of fewer words counts
/// as one run.
double share_of_runs(const std::vector<std::string>& part, const std::vector<std::string>& words,
                     std::size_t n);

}  // namespace clara
