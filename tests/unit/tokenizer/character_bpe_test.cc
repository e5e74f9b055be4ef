// Laws of BPE over characters, as SentencePiece's vocabularies become in tokenizer.json: blanks in
// front, byte fallback, unknown characters, decoding.
#include <string>

#include "tests/unit/tokenizer/tiny_tokenizer.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using nlohmann::json;
using testing::ElementsAre;

constexpr auto kParse = SpecialTokenText::kParse;
constexpr auto kAsText = SpecialTokenText::kAsText;
const std::string kMark = "\u2581";

// Ids: <unk> 0, the bytes 1 … 256, ▁ 257, a 258, b 259, ab 260, ▁ab 261, ▁▁ 262, then <s>.
TinyTokenizer characters() {
  TinyTokenizer tiny;
  json vocabulary = {{"<unk>", 0}};
  for (int byte = 0; byte < 256; ++byte) {
    vocabulary[byte_token(static_cast<std::uint8_t>(byte))] = byte + 1;
  }
  for (const std::string& token : {kMark, std::string("a"), std::string("b"), std::string("ab"),
                                   kMark + "ab", kMark + kMark}) {
    vocabulary[token] = vocabulary.size();
  }
  tiny.tokenizer["model"]["vocab"] = vocabulary;
  tiny.tokenizer["model"]["merges"] = json::array({{kMark, kMark}, {"a", "b"}, {kMark, "ab"}});
  tiny.tokenizer["model"]["byte_fallback"] = true;
  tiny.tokenizer["model"]["fuse_unk"] = true;
  tiny.tokenizer["model"]["unk_token"] = "<unk>";
  tiny.tokenizer["pre_tokenizer"] = nullptr;
  tiny.tokenizer["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", kMark}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", kMark}}}}};
  tiny.tokenizer["decoder"] = {
      {"type", "Sequence"},
      {"decoders",
       {{{"type", "Replace"}, {"pattern", {{"String", kMark}}}, {"content", " "}},
        {{"type", "ByteFallback"}},
        {{"type", "Fuse"}},
        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  tiny.add("<s>");
  return tiny;
}

json metaspace(const std::string& scheme, bool split) {
  return {
      {"type", "Metaspace"}, {"replacement", kMark}, {"prepend_scheme", scheme}, {"split", split}};
}

TEST(CharacterBpe, PutsABlankInFrontOfEveryText) {
  const auto tokenizer = characters().load();
  EXPECT_THAT(tokenizer->encode("ab ab", kParse), ElementsAre(261, 261));
  EXPECT_THAT(tokenizer->encode("<s>ab", kParse), ElementsAre(263, 261));
  EXPECT_THAT(tokenizer->encode("ab", kParse, TextPlace::kAfterTokens), ElementsAre(261));
  EXPECT_THAT(tokenizer->encode("  ab", kParse), ElementsAre(262, 261));
  EXPECT_THAT(tokenizer->encode("", kParse), ElementsAre());
}

TEST(CharacterBpe, MetaspacePutsOneWhereItsSchemeSays) {
  for (const bool split : {false, true}) {
    TinyTokenizer tiny = characters();
    tiny.tokenizer["normalizer"] = nullptr;
    auto ids = [&](const char* scheme, const std::string& text, TextPlace place) {
      tiny.tokenizer["pre_tokenizer"] = metaspace(scheme, split);
      return tiny.load()->encode(text, kParse, place);
    };
    EXPECT_THAT(ids("first", "ab<s>ab", TextPlace::kStart), ElementsAre(261, 263, 260));
    EXPECT_THAT(ids("first", "ab", TextPlace::kAfterTokens), ElementsAre(260));
    EXPECT_THAT(ids("first", "<s>ab", TextPlace::kStart), ElementsAre(263, 260));
    EXPECT_THAT(ids("first", " ab", TextPlace::kStart), ElementsAre(261));
    EXPECT_THAT(ids("always", "ab<s>ab", TextPlace::kStart), ElementsAre(261, 263, 261));
    EXPECT_THAT(ids("always", "ab", TextPlace::kAfterTokens), ElementsAre(261));
    EXPECT_THAT(ids("never", "ab ab", TextPlace::kStart), ElementsAre(260, 261));
  }
}

TEST(CharacterBpe, UnknownCharactersBecomeTheirBytes) {
  const auto tokenizer = characters().load();
  EXPECT_THAT(tokenizer->encode("\u00e9", kParse), ElementsAre(257, 0xC3 + 1, 0xA9 + 1));
  for (const std::string text : {"ab \u00e9\n", " a  b", "\U0001f600", "<s>", "<0x41>"}) {
    EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kAsText), false), text);
  }
  EXPECT_EQ(tokenizer->decode({0xC3 + 1, 258, 0xC3 + 1, 0xA9 + 1}, false), "\uFFFDa\u00e9");
}

TEST(CharacterBpe, WithoutBytesTheyAreUnknown) {
  TinyTokenizer tiny = characters();
  tiny.tokenizer["model"]["byte_fallback"] = false;
  EXPECT_THAT(tiny.load()->encode("\u00e9\u00e8b", kParse), ElementsAre(257, 0, 259));
  tiny.tokenizer["model"]["fuse_unk"] = false;
  EXPECT_THAT(tiny.load()->encode("\u00e9\u00e8b", kParse), ElementsAre(257, 0, 0, 259));
  tiny.tokenizer["model"]["unk_token"] = nullptr;
  EXPECT_THAT(tiny.load()->encode("a\u00e9b \u00e9 ab", kParse), ElementsAre(261, 262, 260));
}

TEST(CharacterBpe, SpecialTokensInTextStayText) {
  const auto tokenizer = characters().load();
  const TokenIds ids = tokenizer->encode("ab<s>", kAsText);
  for (const TokenId id : ids) EXPECT_FALSE(tokenizer->is_special(id));
  EXPECT_THAT(tokenizer->encode("ab<s>", kParse), ElementsAre(261, 263));
}

TEST(CharacterBpe, WholeWordsComeFirstWhereMergesAreIgnored) {
  TinyTokenizer tiny = characters();
  tiny.tokenizer["model"]["merges"] = json::array();
  tiny.tokenizer["model"]["ignore_merges"] = true;
  tiny.tokenizer["normalizer"] = nullptr;
  tiny.tokenizer["pre_tokenizer"] = metaspace("always", true);
  EXPECT_THAT(tiny.load()->encode("ab aab", kParse), ElementsAre(261, 257, 258, 258, 259));
}

TEST(CharacterBpe, AMergeOverTwoWordsIsFound) {
  TinyTokenizer tiny = characters();
  tiny.tokenizer["model"]["vocab"]["b" + kMark] = 263;
  tiny.tokenizer["model"]["merges"].insert(tiny.tokenizer["model"]["merges"].begin(),
                                           json::array({"b", kMark}));
  tiny.tokenizer["added_tokens"][0]["id"] = 264;
  EXPECT_THAT(tiny.load()->encode("ab ab", kParse), ElementsAre(257, 258, 263, 260));
}

}  // namespace
}  // namespace clara
