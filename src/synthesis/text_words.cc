// Normalisation and categories by utf8proc; comparison of lists of words.
#include "synthesis/text_words.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <unordered_set>

#include "common/word_characters.h"
#include <utf8proc.h>

#include "clara/common/text.h"

namespace clara {
namespace {

using WordSet = std::unordered_set<std::string_view>;

struct CodePointRange {
  char32_t first;
  char32_t last;
};

// Scripts that put no blank between words.
constexpr std::array<CodePointRange, 12> kUnspaced = {{
    {0x0E00, 0x0EFF},    // Thai, Lao
    {0x1000, 0x109F},    // Myanmar
    {0x1780, 0x17FF},    // Khmer
    {0x2E80, 0x2FDF},    // radicals
    {0x3005, 0x3007},    // marks of repetition
    {0x3040, 0x30FF},    // kana
    {0x3400, 0x4DBF},    // Han, extension A
    {0x4E00, 0x9FFF},    // Han
    {0xA9E0, 0xA9FF},    // Myanmar, extended
    {0xF900, 0xFAFF},    // compatibility Han
    {0x1B000, 0x1B16F},  // kana, supplement
    {0x20000, 0x3FFFF},  // Han, the other extensions
}};

bool is_unspaced(char32_t point) {
  return std::any_of(kUnspaced.begin(), kUnspaced.end(), [point](const CodePointRange& range) {
    return point >= range.first && point <= range.last;
  });
}

// NFKC with case folding.
std::string normalised(std::string_view text) {
  const std::string valid = drop_invalid_utf8(text);
  utf8proc_uint8_t* folded = nullptr;
  const utf8proc_ssize_t num_bytes =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(valid.data()),
                   static_cast<utf8proc_ssize_t>(valid.size()), &folded,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPAT |
                                                  UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(folded, &std::free);
  if (num_bytes < 0) return valid;
  return {reinterpret_cast<const char*>(folded), static_cast<std::size_t>(num_bytes)};
}

// Runs of n words, each joined into one text.
std::vector<std::string> runs_of(const std::vector<std::string>& words, std::size_t n) {
  std::vector<std::string> runs;
  if (words.empty()) return runs;
  const std::size_t length = std::min(n, words.size());
  for (std::size_t begin = 0; begin + length <= words.size(); ++begin) {
    std::string run;
    for (std::size_t i = begin; i < begin + length; ++i) run += words[i] + ' ';
    runs.push_back(std::move(run));
  }
  return runs;
}

}  // namespace

std::vector<std::string> words_of(std::string_view text) {
  const std::string folded = normalised(text);
  std::vector<std::string> words;
  std::string word;
  const auto end_word = [&] {
    if (!word.empty()) words.push_back(std::move(word));
    word.clear();
  };
  for (std::size_t position = 0; position < folded.size();) {
    const CodePoint point = decode_utf8(folded, position);
    const std::size_t num_bytes = std::max<std::size_t>(point.num_bytes, 1);
    const std::string_view bytes = std::string_view(folded).substr(position, num_bytes);
    position += num_bytes;
    if (point.num_bytes == 0 || !is_letter_mark_or_number(point.value)) {
      end_word();
    } else if (is_unspaced(point.value)) {
      end_word();
      words.emplace_back(bytes);
    } else {
      word += bytes;
    }
  }
  end_word();
  return words;
}

bool contains_run(const std::vector<std::string>& words, const std::vector<std::string>& part) {
  return !part.empty() &&
         std::search(words.begin(), words.end(), part.begin(), part.end()) != words.end();
}

double share_of_words(const std::vector<std::string>& part, const std::vector<std::string>& words) {
  if (part.empty()) return 0;
  const WordSet known(words.begin(), words.end());
  const auto found = std::count_if(part.begin(), part.end(),
                                   [&](const std::string& word) { return known.count(word) > 0; });
  return static_cast<double>(found) / static_cast<double>(part.size());
}

double jaccard(const std::vector<std::string>& a, const std::vector<std::string>& b) {
  const WordSet set_a(a.begin(), a.end());
  const WordSet set_b(b.begin(), b.end());
  const auto common = static_cast<std::size_t>(std::count_if(
      set_a.begin(), set_a.end(), [&](std::string_view word) { return set_b.count(word) > 0; }));
  const std::size_t all = set_a.size() + set_b.size() - common;
  return all == 0 ? 0 : static_cast<double>(common) / static_cast<double>(all);
}

double share_of_runs(const std::vector<std::string>& part, const std::vector<std::string>& words,
                     std::size_t n) {
  return share_of_words(runs_of(part, n),
                        runs_of(words, std::min(n, std::max<std::size_t>(part.size(), 1))));
}

}  // namespace clara
