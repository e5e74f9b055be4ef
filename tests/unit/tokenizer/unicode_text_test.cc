// Laws of the Unicode ground: replacement of broken bytes, classes, normalization.
#include "tokenizer/unicode_text.h"

#include <string>

#include <gtest/gtest.h>

#include "clara/common/text.h"

namespace clara {
namespace {

TEST(Utf8OrReplacement, KeepsValidText) {
  const std::string text = "a\0\u00e9\u4e2d\U0001F600\U0010FFFF";
  EXPECT_EQ(utf8_or_replacement(text), text);
}

TEST(Utf8OrReplacement, ReplacesEachMaximalSubpartOnce) {
  const std::string mark = "\xEF\xBF\xBD";
  EXPECT_EQ(utf8_or_replacement("a\xF0\x9F\x98z"), "a" + mark + "z");
  EXPECT_EQ(utf8_or_replacement("\xF0\x9F\x98"), mark);
  EXPECT_EQ(utf8_or_replacement("\x80\x80"), mark + mark);
  EXPECT_EQ(utf8_or_replacement("\xC0\xAF"), mark + mark);
  EXPECT_EQ(utf8_or_replacement("\xED\xA0\x80"), mark + mark + mark);
  EXPECT_EQ(utf8_or_replacement("\xE2\x82\x41"), mark + "A");
  EXPECT_EQ(utf8_or_replacement("\xF4\x90\x80\x80"), mark + mark + mark + mark);
}

TEST(Scalars, FirstAndLastAgreeWithTheEncoder) {
  for (char32_t c : {U'\0', U'a', U'\u007f', U'\u0080', U'\u07ff', U'\u0800', U'\uffff',
                     U'\U00010000', U'\U0010ffff'}) {
    std::string text;
    append_utf8(text, c);
    const std::string around = "\u4e2d" + text;
    EXPECT_EQ(first_scalar(text).value, c);
    EXPECT_EQ(first_scalar(text).size, text.size());
    EXPECT_EQ(last_scalar(around).value, c);
  }
}

TEST(CharacterClasses, FollowUnicode) {
  EXPECT_TRUE(is_white_space(U'\u3000'));
  EXPECT_TRUE(is_white_space(U'\u0085'));
  EXPECT_FALSE(is_white_space(U'\u180e'));
  EXPECT_FALSE(is_white_space(U'\u200b'));
  EXPECT_TRUE(is_word_character(U'_'));
  EXPECT_TRUE(is_word_character(U'\u0301'));
  EXPECT_TRUE(is_word_character(U'\u24d0'));
  EXPECT_FALSE(is_word_character(U'\u00b2'));
  EXPECT_FALSE(is_word_character(U'-'));
  EXPECT_TRUE(is_numeric(U'\u00bd'));
  EXPECT_TRUE(is_numeric(U'\u0663'));
  EXPECT_FALSE(is_numeric(U'\u4e00'));
  EXPECT_TRUE(is_numeric(U'\U00010D40'));  // Garay digits came with Unicode 16
}

TEST(NewerCodePoints, AreFoundAnywhereInText) {
  EXPECT_FALSE(has_newer_code_point("plain \u00e9 \u4e2d \U0001F600"));
  EXPECT_TRUE(has_newer_code_point("x\U00031350"));  // CJK extension H
  EXPECT_TRUE(has_newer_code_point("\U0002EBF0 y"));
}

TEST(NormalizeNfc, ComposesAndOrders) {
  EXPECT_EQ(normalize_nfc("e\u0301"), "\u00e9");
  EXPECT_EQ(normalize_nfc("d\u0307\u0323"), "\u1e0d\u0307");
  EXPECT_EQ(normalize_nfc("\u212b"), "\u00c5");
  EXPECT_EQ(normalize_nfc("\u1100\u1161\u11a8"), "\uac01");
  EXPECT_EQ(normalize_nfc("\ufb01"), "\ufb01");  // compatibility only
  EXPECT_EQ(normalize_nfc("\u0958"), "\u0915\u093c");
}

TEST(NormalizeNfc, IsIdempotentAndKeepsAsciiAndNul) {
  const std::string text("a\0b\n\xC3\xA9 e\xCC\x81", 10);
  const std::string once = normalize_nfc(text);
  EXPECT_EQ(normalize_nfc(once), once);
  const std::string ascii("plain\0text", 10);
  EXPECT_EQ(normalize_nfc(ascii), ascii);
}

TEST(NormalizeNfc, LeavesWhatUnicode9DidNotKnow) {
  EXPECT_EQ(normalize_nfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(NormalizeNfc, SortsLongRunsOfMarks) {
  std::string text = "a";
  for (int i = 0; i < 100000; ++i) text += "\u0345\u0323";
  const std::string normalized = normalize_nfc(text);
  EXPECT_EQ(normalized.substr(0, 3), "\u1ea1");  // a with one mark below
  EXPECT_EQ(normalized.substr(normalized.size() - 2), "\u0345");
}

}  // namespace
}  // namespace clara
