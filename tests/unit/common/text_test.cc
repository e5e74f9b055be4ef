// UTF-8 validation with the place of the fault; Python's strip.
#include "clara/common/text.h"

#include <gtest/gtest.h>

namespace clara {
namespace {

constexpr auto kNone = std::nullopt;

TEST(Utf8, AcceptsEveryCodePointAndRoundTrips) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text;
    append_utf8(text, c);
    const CodePoint decoded = decode_utf8(text, 0);
    ASSERT_EQ(decoded.value, c);
    ASSERT_EQ(decoded.num_bytes, text.size());
    ASSERT_EQ(find_invalid_utf8(text), kNone);
    // Cut by one byte it is nothing.
    ASSERT_EQ(decode_utf8(std::string_view(text).substr(0, text.size() - 1), 0).num_bytes, 0U);
  }
}

TEST(Utf8, ReportsTheByteOfTheFault) {
  EXPECT_EQ(find_invalid_utf8(""), kNone);
  EXPECT_EQ(find_invalid_utf8("a\x80"), 1U);              // lone continuation
  EXPECT_EQ(find_invalid_utf8("\xC3\xA9\xC3"), 2U);       // cut at the end
  EXPECT_EQ(find_invalid_utf8("ab\xC0\xAF"), 2U);         // overlong, two bytes
  EXPECT_EQ(find_invalid_utf8("\xE0\x80\xAF"), 0U);       // overlong, three bytes
  EXPECT_EQ(find_invalid_utf8("\xF0\x80\x80\xAF"), 0U);   // overlong, four bytes
  EXPECT_EQ(find_invalid_utf8("x\xED\xA0\x80"), 1U);      // surrogate
  EXPECT_EQ(find_invalid_utf8("x\xF4\x90\x80\x80"), 1U);  // above U+10FFFF
  EXPECT_EQ(find_invalid_utf8("x\xF5\x80\x80\x80"), 1U);
  EXPECT_EQ(find_invalid_utf8("xyz\xFF"), 3U);
  EXPECT_EQ(find_invalid_utf8("\xE2\x82\x28"), 0U);  // third byte is no continuation
  EXPECT_EQ(find_invalid_utf8(std::string_view("a\0b", 3)), kNone);
}

TEST(Utf8, DropsWhatIsIllFormedAndNothingElse) {
  EXPECT_EQ(drop_invalid_utf8(""), "");
  EXPECT_EQ(drop_invalid_utf8("a\xC3\xA9"), "a\xC3\xA9");
  EXPECT_EQ(drop_invalid_utf8("\xFF"
                              "a\xC3\xA9\xED\xA0\x80 b\xC3"),
            "a\xC3\xA9 b");
}

TEST(Utf8, WritesTheReplacementCharacterForWhatIsNoCodePoint) {
  for (const char32_t c : {char32_t{0xD800}, char32_t{0xDFFF}, char32_t{0x110000}}) {
    std::string text;
    append_utf8(text, c);
    EXPECT_EQ(text, "\xEF\xBF\xBD");
  }
}

TEST(UnicodeSpace, IsExactlyPythons) {
  // [chr(c) for c in range(0x110000) if chr(c).isspace()]
  const std::u32string spaces =
      U"\t\n\v\f\r\x1c\x1d\x1e\x1f "
      U"\u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008"
      U"\u2009\u200a\u2028\u2029\u202f\u205f\u3000";
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    ASSERT_EQ(is_unicode_space(c), spaces.find(c) != spaces.npos) << static_cast<unsigned>(c);
  }
}

TEST(StripWhitespace, TakesUnicodeSpaceFromBothEndsOnly) {
  EXPECT_EQ(strip_whitespace(""), "");
  EXPECT_EQ(strip_whitespace(" \t\n\u3000\u00a0"), "");
  EXPECT_EQ(strip_whitespace("\u2003 a\u3000b \u0085\x1f"), "a\u3000b");
  EXPECT_EQ(strip_whitespace("\u200b x \ufeff"), "\u200b x \ufeff");  // zero-width: no white space
  EXPECT_EQ(strip_whitespace("  \u00e9\U0001F600  "), "\u00e9\U0001F600");
}

TEST(StripWhitespace, StopsAtIllFormedBytes) {
  EXPECT_EQ(strip_whitespace(" \x80 "), "\x80");
  EXPECT_EQ(strip_whitespace("a\xA0"), "a\xA0");
  EXPECT_EQ(strip_whitespace("\x80\x80\x80\x80\x80"), "\x80\x80\x80\x80\x80");
}

}  // namespace
}  // namespace clara
