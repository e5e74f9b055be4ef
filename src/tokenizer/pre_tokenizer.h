// How text is cut into words before byte-pair merging (tokenizer.json "pre_tokenizer").
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/split_pattern.h"

namespace clara {

/// What becomes of the text that a split's pattern matches.
enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

/// Which text gets the blank of a Metaspace step in front.
enum class PrependScheme { kNever, kFirst, kAlways };

/// One step of cutting. kByteLevel can only be the last. kBert leaves white space out and makes
/// every punctuation character a word.
struct CutStep {
  enum class Kind { kDigits, kSplitPattern, kSplitString, kByteLevel, kMetaspace, kBert };
  Kind kind = Kind::kByteLevel;
  std::optional<SplitPattern> pattern;  ///< kSplitPattern, and kByteLevel with its own pattern
  std::string literal;                  ///< kSplitString; kMetaspace: what stands for a blank
  SplitBehavior behavior = SplitBehavior::kIsolated;
  bool invert = false;            ///< the text between matches counts as the matches
  bool add_prefix_space = false;  ///< kByteLevel: every piece that starts without a blank gets one
  PrependScheme prepend = PrependScheme::kNever;  ///< kMetaspace: the same, with `literal`
  bool split = false;                             ///< kMetaspace: cuts before each `literal`
};

/// The pattern of GPT-2, which the step ByteLevel with use_regex stands for.
extern const std::string_view kByteLevelPattern;

/// Scratch memory of one thread that cuts.
struct CutMemory {
  struct Level {
    std::vector<TextRange> matches;
    std::vector<std::pair<TextRange, bool>> pieces;  ///< (range, is a match)
    std::string changed;                             ///< the text, where the step changes it
  };
  MatchMemory matching;
  std::deque<Level> levels;  ///< one a step
};

/// Cuts text by its steps, one after another. Safe to use from several threads with own memory.
class PreTokenizer {
 public:
  explicit PreTokenizer(std::vector<CutStep> steps) : steps_(std::move(steps)) {}

  /// Calls `take` with every word of `text` (valid UTF-8), in order; words are not empty and are
  /// valid only during the call. `at_start`: nothing stands before the text.
  template <typename Take>
  void cut(std::string_view text, bool at_start, CutMemory& memory, const Take& take) const {
    while (memory.levels.size() < steps_.size()) memory.levels.emplace_back();
    cut_from(0, text, at_start, memory, take);
  }

 private:
  template <typename Take>
  void cut_from(std::size_t step, std::string_view text, bool at_start, CutMemory& memory,
                const Take& take) const {
    if (text.empty()) return;
    if (step == steps_.size()) {
      take(text);
      return;
    }
    CutMemory::Level& level = memory.levels[step];
    text = split(steps_[step], text, at_start, memory.matching, level);
    for (const auto& [range, is_removed] : level.pieces) {
      if (is_removed) continue;
      cut_from(step + 1, text.substr(range.begin, range.end - range.begin),
               at_start && range.begin == 0, memory, take);
    }
  }

  // Fills level.pieces, the true ones to be left out; returns the text that they are ranges of.
  static std::string_view split(const CutStep& step, std::string_view text, bool at_start,
                                MatchMemory& matching, CutMemory::Level& level);

  std::vector<CutStep> steps_;
};

}  // namespace clara
