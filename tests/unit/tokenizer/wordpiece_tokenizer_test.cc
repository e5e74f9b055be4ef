// WordPiece tokenizers: recordings of Hugging Face tokenizers (record_encoders.py), the laws of
// words, normalization and truncation, and what is refused.
#include "clara/tokenizer/wordpiece_tokenizer.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::filesystem::path kFixtures =
    std::filesystem::path(CLARA_SOURCE_DIR) / "tests/fixtures/retrieval";

Json recording() { return Json::parse(read_file(kFixtures / "expected.json")); }

TokenIds encode(const EncoderTokenizer& tokenizer, const std::string& text) {
  return tokenizer.text->encode(text, SpecialTokenText::kParse);
}

/// A folder with vocab.txt of these tokens and tokenizer_config.json.
class VocabularyFolder {
 public:
  explicit VocabularyFolder(const std::string& vocabulary, const Json& config = Json::object()) {
    std::ofstream(folder_ / "vocab.txt") << vocabulary;
    std::ofstream(folder_ / "tokenizer_config.json") << config.dump();
  }
  EncoderTokenizer load() const { return load_wordpiece_tokenizer(folder_.path()); }
  std::string error() const {
    try {
      load();
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }

 private:
  TemporaryFolder folder_;
};

constexpr const char* kSpecial = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n";

/// The error of the recorded tokenizer.json after a change.
template <typename Change>
std::string error_after(const Change& change) {
  const TemporaryFolder folder;
  Json json = Json::parse(read_file(kFixtures / "cls/tokenizer.json"));
  change(json);
  std::ofstream(folder / "tokenizer.json") << json.dump();
  try {
    load_wordpiece_tokenizer(folder.path());
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

TEST(WordPieceTokenizer, IdsEqualThoseOfTransformers) {
  const Json expected = recording();
  // tokenizer.json in one folder, vocab.txt in the other.
  for (const char* name : {"cls", "cross"}) {
    const EncoderTokenizer tokenizer = load_wordpiece_tokenizer(kFixtures / name);
    for (std::size_t i = 0; i < expected["texts"].size(); ++i) {
      const auto text = expected["texts"][i].get<std::string>();
      const TypedTokens tokens = tokenizer.sequence.apply(encode(tokenizer, text), 1000);
      EXPECT_EQ(tokens.ids, expected["ids"][i].get<TokenIds>()) << name << ": " << text;
      EXPECT_EQ(tokens.types, std::vector<std::int32_t>(tokens.ids.size(), 0));
    }
  }
}

TEST(WordPieceTokenizer, PairsAreCutAsTransformersCutsThem) {
  const Json expected = recording();
  const EncoderTokenizer tokenizer = load_wordpiece_tokenizer(kFixtures / "cls");
  const auto max_tokens = expected["max_tokens"].get<std::int64_t>();
  const PairTruncation ways[] = {PairTruncation::kLongestFirst, PairTruncation::kOnlySecond};
  int num_refused = 0;
  for (std::size_t way = 0; way < 2; ++way) {
    for (std::size_t i = 0; i < expected["pairs"].size(); ++i) {
      const auto text = [&](int side) {
        return encode(tokenizer, expected["texts"][expected["pairs"][i][side].get<std::size_t>()]);
      };
      const Json& inputs = expected["pair_inputs"][way][i];
      if (inputs.is_null()) {
        ++num_refused;
        EXPECT_THROW(tokenizer.sequence.apply(text(0), text(1), max_tokens, ways[way]), DataError);
        continue;
      }
      const TypedTokens tokens = tokenizer.sequence.apply(text(0), text(1), max_tokens, ways[way]);
      EXPECT_EQ(tokens.ids, inputs["ids"].get<TokenIds>()) << way << " " << i;
      EXPECT_EQ(tokens.types, inputs["types"].get<std::vector<std::int32_t>>()) << way << " " << i;
    }
  }
  EXPECT_GT(num_refused, 0);
}

TEST(WordPieceTokenizer, AWordThatDoesNotComeOutWholeIsUnknown) {
  const VocabularyFolder folder(std::string(kSpecial) + "un\n##able\n##a\nb\n");
  const EncoderTokenizer tokenizer = folder.load();
  EXPECT_EQ(encode(tokenizer, "Unable"), (TokenIds{5, 6}));
  EXPECT_EQ(encode(tokenizer, "una b"), (TokenIds{5, 7, 8}));
  EXPECT_EQ(encode(tokenizer, "unables b"), (TokenIds{1, 8}));
  EXPECT_EQ(encode(tokenizer, "a"), (TokenIds{1}));  // only a continuing piece
  EXPECT_EQ(encode(tokenizer, "un[MASK]b"), (TokenIds{5, 4, 8}));
  EXPECT_EQ(tokenizer.text->encode("[MASK]", SpecialTokenText::kAsText), (TokenIds{1, 1, 1}));
}

TEST(WordPieceTokenizer, WordsOfMoreThanAHundredCharactersAreUnknown) {
  const VocabularyFolder folder(std::string(kSpecial) + "\u00fc\n##\u00fc\n",
                                {{"strip_accents", false}});
  const EncoderTokenizer tokenizer = folder.load();
  std::string word;
  for (int i = 0; i < 100; ++i) word += "\u00fc";
  EXPECT_EQ(encode(tokenizer, word).size(), 100U);
  EXPECT_EQ(encode(tokenizer, word + "\u00fc"), (TokenIds{1}));
}

TEST(WordPieceTokenizer, ConfigDecidesAboutCaseAndAccents) {
  const std::string vocabulary = std::string(kSpecial) + "e\n\u00e9\nE\n\u00c9\n";
  EXPECT_EQ(encode(VocabularyFolder(vocabulary).load(), "\u00c9"), (TokenIds{5}));
  EXPECT_EQ(encode(VocabularyFolder(vocabulary, {{"strip_accents", false}}).load(), "\u00c9"),
            (TokenIds{6}));
  EXPECT_EQ(encode(VocabularyFolder(vocabulary, {{"do_lower_case", false}}).load(), "\u00c9"),
            (TokenIds{8}));
  EXPECT_EQ(
      encode(
          VocabularyFolder(vocabulary, {{"do_lower_case", false}, {"strip_accents", true}}).load(),
          "\u00c9"),
      (TokenIds{7}));
}

TEST(WordPieceTokenizer, ChineseCharactersStandAlone) {
  const std::string vocabulary = std::string(kSpecial) + "\u4e1c\n\u4eac\n##\u4eac\n";
  EXPECT_EQ(encode(VocabularyFolder(vocabulary).load(), "\u4e1c\u4eac"), (TokenIds{5, 6}));
  EXPECT_EQ(encode(VocabularyFolder(vocabulary, {{"tokenize_chinese_chars", false}}).load(),
                   "\u4e1c\u4eac"),
            (TokenIds{5, 7}));
}

TEST(WordPieceTokenizer, IsWhatLoadTokenizerGives) {
  for (const char* name : {"cls", "cross"}) {
    const auto tokenizer = load_tokenizer(kFixtures / name);
    EXPECT_EQ(
        tokenizer->decode(tokenizer->encode("The tower, Paris.", SpecialTokenText::kAsText), true),
        "the tower, paris.");
  }
}

TEST(WordPieceTokenizer, NamesWhatIsWrong) {
  EXPECT_THAT(error_after([](Json& json) { json["post_processor"] = nullptr; }),
              AllOf(HasSubstr("post_processor"), HasSubstr("BertProcessing"), HasSubstr("null")));
  EXPECT_THAT(
      error_after([](Json& json) { json["post_processor"]["single"][1]["Sequence"]["id"] = "C"; }),
      HasSubstr("post_processor.single[1].Sequence.id: expected A or B"));
  EXPECT_THAT(error_after([](Json& json) { json["post_processor"]["pair"].erase(1); }),
              HasSubstr("pair: expected the text A once"));
  EXPECT_THAT(
      error_after([](Json& json) { json["post_processor"]["special_tokens"].erase("[CLS]"); }),
      HasSubstr("post_processor.special_tokens: the member [CLS] is missing"));
  EXPECT_THAT(error_after([](Json& json) { json["model"]["unk_token"] = "[NONE]"; }),
              AllOf(HasSubstr("model.unk_token"), HasSubstr("[NONE]")));
  EXPECT_THAT(error_after([](Json& json) { json["model"].erase("max_input_chars_per_word"); }),
              HasSubstr("max_input_chars_per_word is missing"));
  EXPECT_THAT(error_after([](Json& json) { json["normalizer"]["lowercase"] = 1; }),
              HasSubstr("normalizer.lowercase: expected true or false"));
  EXPECT_THAT(error_after([](Json& json) { json["model"]["type"] = "Unigram"; }),
              AllOf(HasSubstr("model.type"), HasSubstr("expected BPE or WordPiece")));
  EXPECT_THAT(VocabularyFolder("[PAD]\n[UNK]\n[CLS]\n").error(),
              AllOf(HasSubstr("vocab.txt"), HasSubstr("[SEP]")));
  EXPECT_THAT(VocabularyFolder("").error(), HasSubstr("expected tokens, found none"));
  EXPECT_THAT(VocabularyFolder("\xff\n").error(), HasSubstr("invalid byte at offset 0"));
  EXPECT_THAT(VocabularyFolder(kSpecial, {{"do_basic_tokenize", false}}).error(),
              HasSubstr("do_basic_tokenize"));
  const TemporaryFolder empty;
  EXPECT_THROW(load_wordpiece_tokenizer(empty.path()), DataError);
}

TEST(SequenceTemplate, NeedsRoomForItsOwnTokens) {
  const SequenceTemplate bert = bert_sequence_template(2, 3);
  EXPECT_EQ(bert.num_added_to_single(), 2);
  EXPECT_EQ(bert.num_added_to_pair(), 3);
  EXPECT_EQ(bert.num_types(), 2);
  EXPECT_EQ(bert.apply({7, 8}, 3).ids, (TokenIds{2, 7, 3}));
  EXPECT_EQ(bert.apply({7, 8}, 2).ids, (TokenIds{2, 3}));
  EXPECT_THROW(bert.apply({7}, 1), ConfigError);
}

}  // namespace
}  // namespace clara
