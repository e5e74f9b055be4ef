// XLM-RoBERTa's tokenizer against a recording of transformers
// (tests/fixtures/retrieval/record_xlm_roberta.py), and what is refused.
#include "clara/tokenizer/xlm_roberta_tokenizer.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::json;

const std::filesystem::path kFolder =
    std::filesystem::path(CLARA_SOURCE_DIR) / "tests/fixtures/retrieval/xlm_roberta";
constexpr const char* kModel = "sentencepiece.bpe.model";
constexpr std::int64_t kMaxTokens = 40;

Json recording() { return Json::parse(read_file(kFolder / "expected.json")); }

TEST(XlmRobertaTokenizer, IdsEqualThoseOfTransformers) {
  const EncoderTokenizer tokenizer = load_xlm_roberta_tokenizer(kFolder);
  const Json expected = recording();
  for (std::size_t i = 0; i < expected["texts"].size(); ++i) {
    const auto text = expected["texts"][i].get<std::string>();
    const TypedTokens input =
        tokenizer.sequence.apply(tokenizer.text->encode(text, SpecialTokenText::kParse), 1000);
    EXPECT_EQ(input.ids, expected["ids"][i].get<TokenIds>()) << text;
    EXPECT_EQ(input.types, std::vector<std::int32_t>(input.ids.size(), 0));
  }
}

TEST(XlmRobertaTokenizer, PairsAreCutAsTransformersCutsThem) {
  const EncoderTokenizer tokenizer = load_xlm_roberta_tokenizer(kFolder);
  const Json expected = recording();
  for (std::size_t i = 0; i < expected["pairs"].size(); ++i) {
    std::vector<TokenIds> texts;
    for (const auto index : expected["pairs"][i].get<std::vector<std::size_t>>()) {
      texts.push_back(tokenizer.text->encode(expected["texts"][index].get<std::string>(),
                                             SpecialTokenText::kParse));
    }
    EXPECT_EQ(
        tokenizer.sequence.apply(texts[0], texts[1], kMaxTokens, PairTruncation::kLongestFirst).ids,
        expected["inputs"][i].get<TokenIds>())
        << i;
  }
}

TEST(XlmRobertaTokenizer, KnowsItsTokens) {
  const EncoderTokenizer tokenizer = load_xlm_roberta_tokenizer(kFolder);
  const Tokenizer& text = *tokenizer.text;
  EXPECT_EQ(text.bos_id(), 0);
  EXPECT_EQ(text.eos_id(), 2);
  EXPECT_EQ(text.token_to_id("<mask>"), text.size() - 1);
  EXPECT_TRUE(text.is_special(1));
  EXPECT_FALSE(text.is_special(4));
  const TokenIds ids = text.encode("the  tower", SpecialTokenText::kParse);
  EXPECT_EQ(text.decode(ids, /*skip_special=*/true), "the tower");
  // As plain text a special token's spelling is none.
  EXPECT_NE(text.encode("</s>", SpecialTokenText::kAsText).front(), 2);
  EXPECT_THROW(text.encode("\xff", SpecialTokenText::kParse), DataError);
}

TEST(XlmRobertaTokenizer, NamesWhatIsWrong) {
  const TemporaryFolder folder;
  const auto error = [&]() -> std::string {
    try {
      load_xlm_roberta_tokenizer(folder.path());
    } catch (const DataError& refused) {
      return refused.what();
    }
    return "no error";
  };
  EXPECT_THAT(error(), HasSubstr(kModel));
  std::string model = read_file(kFolder / kModel);
  std::ofstream(folder / kModel, std::ios::binary) << model.substr(0, model.size() / 2);
  EXPECT_THAT(error(), HasSubstr("expected a SentencePiece model"));
  // Other first pieces: </s> renamed.
  const std::size_t place = model.find("</s>");
  ASSERT_NE(place, std::string::npos);
  model.replace(place, 4, "</x>");
  std::ofstream(folder / kModel, std::ios::binary) << model;
  EXPECT_THAT(error(), HasSubstr("expected </s> as piece 2"));
}

}  // namespace
}  // namespace clara
