// What is done to text before it is cut into words (tokenizer.json "normalizer").
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/split_pattern.h"

namespace clara {

/// One step of normalization.
struct NormalizeStep {
  enum class Kind { kNfc, kPrepend, kReplaceString, kReplacePattern, kBert };
  Kind kind = Kind::kNfc;
  std::string literal;                  ///< kReplaceString: what is replaced; not empty
  std::optional<SplitPattern> pattern;  ///< kReplacePattern
  std::string content;  ///< kPrepend: goes before text; kReplace…: the replacement
  // kBert, in the order in which they are done:
  bool clean_text = true;            ///< no control characters, every white space is a blank
  bool handle_chinese_chars = true;  ///< blanks around CJK ideographs
  bool strip_accents = true;         ///< decomposed, without nonspacing marks
  bool lowercase = true;
};

/// `text` with every `literal` (not empty) replaced by `content`.
std::string replace_all(std::string_view text, std::string_view literal, std::string_view content);

/// The same for the matches of a pattern in valid UTF-8.
std::string replace_matches(std::string_view text, const SplitPattern& pattern, MatchMemory& memory,
                            std::string_view content);

/// Applies its steps one after another. Safe to use from several threads with own memory.
class TextNormalizer {
 public:
  explicit TextNormalizer(std::vector<NormalizeStep> steps = {}) : steps_(std::move(steps)) {}

  bool empty() const { return steps_.empty(); }

  /// `text` is valid UTF-8. Empty text stays empty.
  std::string apply(std::string_view text, MatchMemory& memory) const;

 private:
  std::vector<NormalizeStep> steps_;
};

}  // namespace clara
