// Laws of encoding and decoding: identity, special tokens as text, added-token flags, threads,
// size.
#include "clara/tokenizer/bpe_tokenizer.h"

#include <string>
#include <thread>
#include <vector>

#include "tests/unit/tokenizer/tiny_tokenizer.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr auto kParse = SpecialTokenText::kParse;
constexpr auto kAsText = SpecialTokenText::kAsText;
constexpr TokenId kHello = 259;
constexpr TokenId kBlankHello = 260;

std::string random_text(SeedStream& random) {
  std::string text;
  const std::uint64_t length = random.below(40);
  for (std::uint64_t i = 0; i < length; ++i) {
    switch (random.below(6)) {
      case 0:
        text += "hello";
        break;
      case 1:
        text += " <|im_end|>";
        break;
      case 2:
        append_utf8(text, static_cast<char32_t>(random.below(0x80)));
        break;
      case 3:
        append_utf8(text, static_cast<char32_t>(random.below(0x800)));
        break;
      case 4:
        append_utf8(text, static_cast<char32_t>(random.below(0xD800)));
        break;
      default:
        append_utf8(text, static_cast<char32_t>(0xE000 + random.below(0x110000 - 0xE000)));
    }
  }
  return text;
}

// The pre-tokenizers of the families, each on the tiny vocabulary.
void use_family(TinyTokenizer& tiny, const std::string& family) {
  const nlohmann::json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", family == "smollm2"}};
  nlohmann::json first = {{"type", "Split"},
                          {"pattern", {{"Regex", kLlama3Pattern}}},
                          {"behavior", "Isolated"},
                          {"invert", false}};
  if (family == "smollm2") first = {{"type", "Digits"}, {"individual_digits", true}};
  tiny.tokenizer["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {first, byte_level}}};
}

TEST(BpeTokenizer, MergesWithinWordsOnly) {
  const auto tokenizer = TinyTokenizer().load();
  EXPECT_THAT(tokenizer->encode("hello hello", kParse), ElementsAre(kHello, kBlankHello));
  EXPECT_THAT(tokenizer->encode("hello  hello", kParse), ElementsAre(kHello, ' ', kBlankHello));
  EXPECT_THAT(tokenizer->encode("", kParse), ElementsAre());
}

TEST(BpeTokenizer, DecodingUndoesEncodingForAllText) {
  for (const char* family : {"gpt2", "smollm2", "llama3"}) {
    TinyTokenizer tiny;
    tiny.add("<|im_end|>");
    tiny.add("<plain>", false);
    if (family != std::string("gpt2")) use_family(tiny, family);
    const auto tokenizer = tiny.load();
    SeedStream random(7);
    for (int i = 0; i < 2000; ++i) {
      const std::string text = random_text(random);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kParse), false), text);
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kAsText), true), text);
    }
  }
}

TEST(BpeTokenizer, TextNeverBecomesASpecialToken) {
  TinyTokenizer tiny;
  const TokenId end = tiny.add("<|im_end|>");
  tiny.add("<s>", true, {{"normalized", true}});
  tiny.add(" ", true);
  const auto tokenizer = tiny.load();
  SeedStream random(11);
  for (int i = 0; i < 2000; ++i) {
    for (TokenId id : tokenizer->encode(random_text(random) + "<s>", kAsText)) {
      EXPECT_FALSE(tokenizer->is_special(id));
    }
  }
  EXPECT_THAT(tokenizer->encode("<|im_end|>", kParse), ElementsAre(end));
}

TEST(BpeTokenizer, AddedTokensThatAreNotSpecialAreFoundInText) {
  TinyTokenizer tiny;
  tiny.add("<|im_end|>");
  const TokenId plain = tiny.add("<plain>", false);
  const auto tokenizer = tiny.load();
  EXPECT_THAT(tokenizer->encode("a<plain>b", kAsText), ElementsAre('a', plain, 'b'));
  // A special token that is passed over takes its text along.
  TinyTokenizer inside;
  inside.add("<x<plain>>");
  inside.add("<plain>", false);
  for (TokenId id : inside.load()->encode("<x<plain>>", kAsText)) EXPECT_LT(id, 256);
}

TEST(BpeTokenizer, TheLongestAddedTokenWins) {
  TinyTokenizer tiny;
  const TokenId shorter = tiny.add("<a");
  const TokenId longer = tiny.add("<a>b");
  const auto tokenizer = tiny.load();
  EXPECT_THAT(tokenizer->encode("<a>b<a>c", kParse), ElementsAre(longer, shorter, '>', 'c'));
}

TEST(BpeTokenizer, StripFlagsTakeTheSpaceBesideTheToken) {
  TinyTokenizer tiny;
  const TokenId left = tiny.add("<l>", true, {{"lstrip", true}});
  const TokenId right = tiny.add("<r>", true, {{"rstrip", true}});
  const auto tokenizer = tiny.load();
  EXPECT_THAT(tokenizer->encode("a \n\u3000<l> b", kParse), ElementsAre('a', left, ' ', 'b'));
  EXPECT_THAT(tokenizer->encode("a <r>\t b", kParse), ElementsAre('a', ' ', right, 'b'));
  EXPECT_THAT(tokenizer->encode("<r>  <l>", kParse), ElementsAre(right, left));
  EXPECT_TRUE(tokenizer->absorbs(left).before);
  EXPECT_FALSE(tokenizer->absorbs(left).after);
  EXPECT_TRUE(tokenizer->absorbs(right).after);
  EXPECT_FALSE(tokenizer->absorbs('a').after);
}

TEST(BpeTokenizer, SingleWordTokensStandAlone) {
  TinyTokenizer tiny;
  const TokenId word = tiny.add("cat", false, {{"single_word", true}});
  const auto tokenizer = tiny.load();
  EXPECT_THAT(tokenizer->encode("cat", kParse), ElementsAre(word));
  EXPECT_THAT(tokenizer->encode("-cat.", kParse), ElementsAre('-', word, '.'));
  EXPECT_THAT(tokenizer->encode("cats", kParse), ElementsAre('c', 'a', 't', 's'));
  EXPECT_THAT(tokenizer->encode("_cat", kParse), ElementsAre('_', 'c', 'a', 't'));
}

TEST(BpeTokenizer, NormalizedTokensAreFoundInNormalizedText) {
  TinyTokenizer tiny;
  tiny.tokenizer["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  const TokenId normalized = tiny.add("<\u00e9>", true, {{"normalized", true}});
  const TokenId literal = tiny.add("<\u00e8>", true);
  const auto tokenizer = tiny.load();
  EXPECT_THAT(tokenizer->encode("<e\u0301>", kParse), ElementsAre(normalized));
  EXPECT_THAT(tokenizer->encode("<\u00e8>", kParse), ElementsAre(literal));
  EXPECT_EQ(tokenizer->encode("<e\u0300>", kParse).size(), 4u);
  EXPECT_EQ(tokenizer->encode("e\u0301", kParse), tokenizer->encode("\u00e9", kParse));
}

TEST(BpeTokenizer, CutsDigitsOneByOne) {
  TinyTokenizer tiny;
  tiny.tokenizer["model"]["vocab"]["12"] = 261;
  tiny.tokenizer["model"]["merges"].push_back({"1", "2"});
  EXPECT_THAT(tiny.load()->encode("12", kParse), ElementsAre(261));
  use_family(tiny, "smollm2");
  EXPECT_THAT(tiny.load()->encode("12", kParse), ElementsAre('1', '2'));
}

TEST(BpeTokenizer, IgnoreMergesTakesWholeWordsOfTheVocabulary) {
  TinyTokenizer tiny;
  tiny.tokenizer["model"]["vocab"]["olleh"] = 261;
  EXPECT_EQ(tiny.load()->encode("olleh", kParse).size(), 4u);
  tiny.tokenizer["model"]["ignore_merges"] = true;
  EXPECT_THAT(tiny.load()->encode("olleh", kParse), ElementsAre(261));
}

TEST(BpeTokenizer, PrefixSpaceOpensEveryPiece) {
  TinyTokenizer tiny;
  const TokenId end = tiny.add("<e>");
  tiny.tokenizer["pre_tokenizer"]["add_prefix_space"] = true;
  EXPECT_THAT(tiny.load()->encode("hello<e>hello", kParse),
              ElementsAre(kBlankHello, end, kBlankHello));
}

TEST(BpeTokenizer, WordEndsMayHaveTokensOfTheirOwn) {
  TinyTokenizer tiny;
  tiny.tokenizer["model"]["end_of_word_suffix"] = "</w>";
  tiny.tokenizer["model"]["vocab"]["o</w>"] = 261;
  tiny.tokenizer["model"]["vocab"]["hello</w>"] = 262;
  tiny.tokenizer["model"]["merges"].push_back({"hell", "o</w>"});
  EXPECT_THAT(tiny.load()->encode("hello", kParse), ElementsAre(262));
}

TEST(BpeTokenizer, RefusesInvalidUtf8WithTheOffset) {
  const auto tokenizer = TinyTokenizer().load();
  for (auto mode : {kParse, kAsText}) {
    try {
      tokenizer->encode("abc\u00e9\xFFz", mode);
      FAIL();
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("offset 5"));
    }
  }
  EXPECT_THROW(tokenizer->encode("\xED\xA0\x80", kParse), DataError);
  EXPECT_THROW(tokenizer->encode("\xE4\xB8", kParse), DataError);
}

TEST(BpeTokenizer, DecodingReplacesBrokenBytesAndLeavesOutWhatItDoesNotKnow) {
  TinyTokenizer tiny;
  const TokenId end = tiny.add("<e>");
  const auto tokenizer = tiny.load();
  EXPECT_EQ(tokenizer->decode({'a', 0xE4, 0xB8, 'b'}, false), "a\uFFFDb");
  EXPECT_EQ(tokenizer->decode({0xE4, 0xB8, 0xAD}, false), "\u4e2d");
  EXPECT_EQ(tokenizer->decode({'a', -1, 100000, end, 'b'}, false), "a<e>b");
  EXPECT_EQ(tokenizer->decode({'a', end, 'b'}, true), "ab");
}

TEST(BpeTokenizer, KnowsItsTokens) {
  TinyTokenizer tiny;
  const TokenId end = tiny.add("<e>");
  const auto tokenizer = tiny.load();
  EXPECT_EQ(tokenizer->size(), end + 1);
  EXPECT_EQ(tokenizer->token_to_id("<e>"), end);
  EXPECT_EQ(tokenizer->token_to_id("hello"), kHello);
  EXPECT_EQ(tokenizer->token_to_id("nothing"), std::nullopt);
  EXPECT_EQ(tokenizer->id_to_token(kBlankHello), "\u0120hello");
  EXPECT_EQ(tokenizer->id_to_token(9999), "");
  EXPECT_TRUE(tokenizer->is_special(end));
  EXPECT_FALSE(tokenizer->is_special(kHello));
  EXPECT_FALSE(tokenizer->is_special(-5));
}

TEST(BpeTokenizer, NamesItsBosAndEos) {
  TinyTokenizer tiny;
  const TokenId begin = tiny.add("<b>");
  const TokenId end = tiny.add("<e>");
  EXPECT_EQ(tiny.load()->bos_id(), std::nullopt);
  tiny.config = {{"bos_token", "<b>"}, {"eos_token", {{"content", "<e>"}, {"lstrip", false}}}};
  EXPECT_EQ(tiny.load()->bos_id(), begin);
  EXPECT_EQ(tiny.load()->eos_id(), end);
  // The map speaks where the config does not; null in the config is an answer.
  tiny.config = {{"bos_token", nullptr}};
  tiny.write("special_tokens_map.json", R"({"bos_token": "<b>", "eos_token": {"content": "<e>"}})");
  EXPECT_EQ(tiny.load()->bos_id(), std::nullopt);
  EXPECT_EQ(tiny.load()->eos_id(), end);
}

TEST(BpeTokenizer, SeveralThreadsGetTheSameIds) {
  TinyTokenizer tiny;
  tiny.add("<|im_end|>");
  use_family(tiny, "llama3");
  const auto tokenizer = tiny.load();
  SeedStream random(3);
  std::vector<std::string> texts;
  for (int i = 0; i < 500; ++i) texts.push_back(random_text(random));
  std::vector<TokenIds> expected;
  for (const std::string& text : texts) expected.push_back(tokenizer->encode(text, kParse));
  std::vector<std::vector<TokenIds>> found(8);
  std::vector<std::thread> threads;
  for (auto& mine : found) {
    threads.emplace_back([&] {
      for (int repeat = 0; repeat < 3; ++repeat) {
        mine.clear();
        for (const std::string& text : texts) mine.push_back(tokenizer->encode(text, kParse));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const auto& mine : found) EXPECT_EQ(mine, expected);
}

// A quadratic step would take minutes here: the test's time limit is the bound.
TEST(BpeTokenizer, TakesHostileTextsOfAMegabyte) {
  TinyTokenizer tiny;
  tiny.tokenizer["normalizer"] = {{"type", "NFC"}};
  tiny.add("<r>", true, {{"rstrip", true}});
  tiny.add("<l>", true, {{"lstrip", true}});
  tiny.add(" ", false, {{"rstrip", true}});
  for (const char* family : {"smollm2", "llama3"}) {
    use_family(tiny, family);
    const auto tokenizer = tiny.load();
    for (const std::string& unit :
         {std::string("a"), std::string("hello"), std::string(" "), std::string("\n"),
          std::string("7"), std::string("\u0345\u0323"), std::string("\u4e2d"), std::string("<r> "),
          std::string(" <l>"), std::string("!"), std::string("A"), std::string("<|im_en")}) {
      std::string text;
      while (text.size() < (std::size_t{1} << 20)) text += unit;
      EXPECT_FALSE(tokenizer->encode(text + "x", kParse).empty());
    }
  }
}

}  // namespace
}  // namespace clara
