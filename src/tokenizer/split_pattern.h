// One regular expression of a pre-tokeniser, with the meaning that Hugging Face tokenizers gives
// it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Bytes [begin, end) of a text.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Memory for matching; one for each thread that matches at the same time.
class MatchMemory {
 public:
  MatchMemory();
  MatchMemory(const MatchMemory&) = delete;
  MatchMemory& operator=(const MatchMemory&) = delete;
  ~MatchMemory();

 private:
  friend class SplitPattern;
  struct State;
  std::unique_ptr<State> state_;
};

/// Patterns come in Oniguruma's syntax and are compiled by PCRE2 (UTF, Unicode properties, JIT).
/// What the two read differently is translated or refused.
class SplitPattern {
 public:
  /// Throws DataError with the reason for a pattern that is wrong or not supported.
  explicit SplitPattern(std::string_view pattern);
  SplitPattern(SplitPattern&&) noexcept;
  SplitPattern& operator=(SplitPattern&&) noexcept;
  ~SplitPattern();

  /// Replaces `matches` by the matches in `text` (valid UTF-8), in order, not overlapping.
  void find_all(std::string_view text, MatchMemory& memory, std::vector<TextRange>& matches) const;

 private:
  struct Code;
  std::unique_ptr<Code> code_;
};

/// The PCRE2 pattern that means what `pattern` means to Oniguruma (Ruby syntax, UTF-8). With
/// `newer_code_points` its properties include newer_categories(). Throws DataError.
std::string translate_pattern(std::string_view pattern, bool newer_code_points);

}  // namespace clara
