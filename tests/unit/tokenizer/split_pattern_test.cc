// Laws of pre-tokenizer patterns: Oniguruma's meaning on PCRE2, and refusal of what would differ.
#include "tokenizer/split_pattern.h"

#include <string>
#include <vector>

#include "tests/unit/tokenizer/tiny_tokenizer.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::ElementsAre;

std::vector<std::string> matches(std::string_view pattern, const std::string& text) {
  MatchMemory memory;
  std::vector<TextRange> found;
  SplitPattern(pattern).find_all(text, memory, found);
  std::vector<std::string> parts;
  for (const TextRange& range : found) {
    parts.push_back(text.substr(range.begin, range.end - range.begin));
  }
  return parts;
}

TEST(SplitPattern, CutsWordsAsLlama3Does) {
  EXPECT_THAT(
      matches(kLlama3Pattern, "I'LL pay 12345 \u20ac\n\n  now\u3000x"),
      ElementsAre("I", "'LL", " pay", " ", "123", "45", " \u20ac\n\n", " ", " now", "\u3000x"));
}

TEST(SplitPattern, MatchesCaselessBeyondAscii) {
  EXPECT_THAT(matches("(?i:'s)", "'s'S'\u017f"), ElementsAre("'s", "'S", "'\u017f"));
}

TEST(SplitPattern, TreatsMongolianVowelSeparatorAsNoSpace) {
  EXPECT_THAT(matches(R"(\s)", "a\u180eb\u2003\u0085"), ElementsAre("\u2003", "\u0085"));
  EXPECT_THAT(matches(R"([^\s]+)", "a\u180eb c"), ElementsAre("a\u180eb", "c"));
  EXPECT_THAT(matches(R"([\Sx]+)", "a\u180eb c"), ElementsAre("a\u180eb", "c"));
}

TEST(SplitPattern, KnowsLettersOfLaterUnicode) {
  EXPECT_THAT(matches(R"(\p{L}+)", "a\U00031350b \U0002EBF0"),
              ElementsAre("a\U00031350b", "\U0002EBF0"));
  EXPECT_THAT(matches(R"([^\s\p{L}]+)", "1\U00031350!"), ElementsAre("1", "!"));
  EXPECT_THAT(matches(R"(\P{L}+)", "1\U00031350!"), ElementsAre("1", "!"));
}

TEST(SplitPattern, SkipsAnEmptyMatchAfterAMatch) {
  EXPECT_THAT(matches("a*", "baac"), ElementsAre("", "aa", ""));
}

TEST(SplitPattern, FindsNothingInEmptyText) { EXPECT_THAT(matches("a+", ""), ElementsAre()); }

TEST(SplitPattern, AnchorsAtLines) {
  EXPECT_THAT(matches(R"(^\w+$)", "ab\ncd e\nf"), ElementsAre("ab", "f"));
}

TEST(SplitPattern, WalksLongRunsWithoutGivingUp) {
  const std::string spaces(200000, ' ');
  EXPECT_THAT(matches(kLlama3Pattern, spaces + "x"), ElementsAre(spaces.substr(1), " x"));
  const std::string upper(200000, 'A');
  EXPECT_THAT(matches(R"((?:\p{Lu}|\p{Lt})*(?:\p{Ll})+|[A-Z]+)", upper), ElementsAre(upper));
}

TEST(SplitPattern, RefusesWhatTheEnginesReadDifferently) {
  for (const char* pattern :
       {R"(\p{N}{1,3}+)", R"([a-z&&[^b]])", R"([[:alpha:]])", R"(\h)", R"(\bword\b)", R"((?m:.))",
        R"(a(?i)b|c)", R"(\p{Han})", R"(\p{^L})", R"(\pL)", R"([^\P{L}])", R"(a{,3})", R"((*FAIL))",
        R"(\1)", R"((?<name>a))", R"(\u12)"}) {
    EXPECT_THROW(SplitPattern{pattern}, DataError) << pattern;
  }
}

TEST(SplitPattern, NamesABrokenPattern) {
  for (const char* pattern : {"(", "[a", "a**b(", "\\", R"(\x{110000})", "(?<=a+)b"}) {
    try {
      SplitPattern{pattern};
      FAIL() << pattern;
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), testing::HasSubstr(pattern));
    }
  }
}

}  // namespace
}  // namespace clara
