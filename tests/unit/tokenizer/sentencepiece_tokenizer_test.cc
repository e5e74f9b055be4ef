// Laws of SentencePiece models: recorded ids in both modes, added tokens, places, broken files.
#include "clara/tokenizer/sentencepiece_tokenizer.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/tokenizer/chat_format.h"

namespace clara {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

constexpr auto kParse = SpecialTokenText::kParse;
constexpr auto kAsText = SpecialTokenText::kAsText;

const std::filesystem::path& fixtures() {
  static const std::filesystem::path kFolder =
      std::filesystem::path(CLARA_SOURCE_DIR) / "tests/fixtures/tokenizer";
  return kFolder;
}

// A folder with the recorded model and a tokenizer_config.json.
class ModelFolder {
 public:
  Json config = {{"bos_token", "<s>"}, {"eos_token", "</s>"}, {"unk_token", "<unk>"}};

  ModelFolder() { write("tokenizer.model", model()); }
  static std::string model() { return read_file(fixtures() / "sentencepiece.model"); }
  void write(const std::string& name, const std::string& content) const {
    std::ofstream(folder_ / name, std::ios::binary) << content;
  }
  std::unique_ptr<Tokenizer> load() const {
    if (!config.is_null()) write("tokenizer_config.json", config.dump());
    return load_tokenizer(folder_.path());
  }
  const std::filesystem::path& path() const { return folder_.path(); }

 private:
  TemporaryFolder folder_;
};

TEST(SentencePieceTokenizer, GivesTheIdsAndTextsOfHuggingFace) {
  const Json recorded = Json::parse(read_file(fixtures() / "sentencepiece.json"));
  ASSERT_EQ(recorded["cases"].size(), 2u);
  for (const Json& recorded_case : recorded["cases"]) {
    ModelFolder folder;
    folder.config["legacy"] = recorded_case["legacy"];
    const auto tokenizer = folder.load();
    for (std::size_t i = 0; i < recorded["texts"].size(); ++i) {
      const std::string text = recorded["texts"][i];
      SCOPED_TRACE(recorded_case["legacy"].dump() + " " + recorded["texts"][i].dump());
      const TokenIds ids = tokenizer->encode(text, kParse);
      EXPECT_EQ(ids, recorded_case["parse"][i].get<TokenIds>());
      EXPECT_EQ(tokenizer->encode(text, kAsText), recorded_case["as_text"][i].get<TokenIds>());
      EXPECT_EQ(tokenizer->decode(ids, false), recorded_case["decoded"][i]);
      EXPECT_EQ(tokenizer->decode(ids, true), recorded_case["decoded_skip"][i]);
    }
  }
}

TEST(SentencePieceTokenizer, DecodingUndoesEncoding) {
  for (const bool legacy : {true, false}) {
    ModelFolder folder;
    folder.config["legacy"] = legacy;
    const auto tokenizer = folder.load();
    for (const std::string text : {"the fox", "a  b\n\tc", "\u5b57 \U0001f600", "<s></s>"}) {
      EXPECT_EQ(tokenizer->decode(tokenizer->encode(text, kAsText), false), text);
    }
  }
}

TEST(SentencePieceTokenizer, OnlyTheStartOfASequenceGetsABlankWithoutLegacy) {
  for (const bool legacy : {true, false}) {
    ModelFolder folder;
    folder.config["legacy"] = legacy;
    const auto tokenizer = folder.load();
    const TokenIds start = tokenizer->encode("the", kAsText, TextPlace::kStart);
    const TokenIds after = tokenizer->encode("the", kAsText, TextPlace::kAfterTokens);
    EXPECT_EQ(start == after, legacy);
    TokenIds expected = {*tokenizer->bos_id()};
    expected.insert(expected.end(), after.begin(), after.end());
    EXPECT_EQ(tokenizer->encode("<s>the", kParse), expected);
  }
}

TEST(SentencePieceTokenizer, SegmentsOfAChatAreTheTokensOfItsText) {
  for (const bool legacy : {true, false}) {
    ModelFolder folder;
    folder.config["legacy"] = legacy;
    folder.config["additional_special_tokens"] = {"<|im_start|>", "<|im_end|>"};
    const auto tokenizer = folder.load();
    for (const char* name : {"chatml", "llama2", "mistral_inst"}) {
      const ChatFormat format = make_chat_format(name, *tokenizer);
      std::string text;
      const auto chat = render_chat(format, "the system", " the user\n", "the answer");
      for (const ChatSegment& segment : chat) text += segment.content;
      EXPECT_EQ(encode_segments(*tokenizer, chat), tokenizer->encode(text, kParse)) << name;
    }
  }
}

TEST(SentencePieceTokenizer, ATextWithoutPrefixSpaceGetsNone) {
  ModelFolder folder;
  folder.config["add_prefix_space"] = false;
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->encode("the", kAsText),
            tokenizer->encode("the", kAsText, TextPlace::kAfterTokens));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(" the", kAsText), false), " the");
}

TEST(SentencePieceTokenizer, AddedTokensComeFromTheConfigOrTheFileBesideIt) {
  ModelFolder folder;
  const TokenId next = folder.load()->size();
  folder.write("added_tokens.json", Json{{"<tool>", next}, {"<|end|>", next + 1}}.dump());
  folder.write("special_tokens_map.json", R"({"pad_token": {"content": "<|end|>"}})");
  const auto beside = folder.load();
  EXPECT_EQ(beside->token_to_id("<tool>"), next);
  EXPECT_FALSE(beside->is_special(next));
  EXPECT_TRUE(beside->is_special(next + 1));
  EXPECT_EQ(beside->size(), next + 2);
  folder.config["added_tokens_decoder"] = {
      {"1", {{"content", "<s>"}, {"special", true}}},
      {std::to_string(next), {{"content", "<|turn|>"}, {"special", true}, {"rstrip", true}}}};
  const auto tokenizer = folder.load();
  EXPECT_FALSE(tokenizer->token_to_id("<tool>"));
  EXPECT_TRUE(tokenizer->is_special(next));
  EXPECT_TRUE(tokenizer->absorbs(next).after);
  EXPECT_EQ(tokenizer->encode("<|turn|> \n", kParse), TokenIds{next});
  EXPECT_EQ(tokenizer->token_to_id("<|end|>"), next + 1) << "named, but numbered by no file";
}

TEST(SentencePieceTokenizer, WithoutOtherFilesTheModelNamesItsTokens) {
  ModelFolder folder;
  folder.config = nullptr;
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_TRUE(tokenizer->is_special(1));
  folder.config = {{"eos_token", nullptr}};
  EXPECT_EQ(folder.load()->eos_id(), std::nullopt);
}

TEST(SentencePieceTokenizer, TokenizerJsonIsPreferred) {
  ModelFolder folder;
  folder.write("tokenizer.json", "{");
  EXPECT_THROW(
      {
        try {
          folder.load();
        } catch (const DataError& error) {
          EXPECT_THAT(error.what(), HasSubstr("tokenizer.json"));
          throw;
        }
      },
      DataError);
}

TEST(SentencePieceTokenizer, BrokenFilesAreDataErrors) {
  ModelFolder folder;
  auto error = [&]() -> std::string {
    try {
      folder.load();
    } catch (const DataError& wrong) {
      return wrong.what();
    }
    return "no error";
  };
  auto config_error = [&](const Json& config) {
    folder.config = config;
    return error();
  };
  const auto names_model = AllOf(HasSubstr("tokenizer.model"), HasSubstr("SentencePiece model"));
  const std::string model = ModelFolder::model();
  for (const std::string& content : {std::string(), std::string("x"), model.substr(0, 1001)}) {
    folder.write("tokenizer.model", content);
    EXPECT_THAT(error(), names_model) << content.size();
  }
  folder.write("tokenizer.model", model);
  EXPECT_EQ(error(), "no error");
  EXPECT_THAT(config_error({{"legacy", 5}}),
              AllOf(HasSubstr("tokenizer_config.json: legacy"), HasSubstr("found 5")));
  EXPECT_THAT(config_error({{"eos_token", "<absent>"}}), "no error") << "transformers adds it";
  EXPECT_THAT(config_error({{"added_tokens_decoder", {{"x", {{"content", "<a>"}}}}}}),
              HasSubstr("added_tokens_decoder.x"));
  EXPECT_THAT(config_error({{"added_tokens_decoder", {{"5", {{"content", "<a>"}}}}}}),
              AllOf(HasSubstr("<a>"), HasSubstr("id 5")));
  EXPECT_THAT(config_error({{"added_tokens_decoder", {{"900", {{"content", "<s>"}}}}}}),
              AllOf(HasSubstr("<s>"), HasSubstr("has it as 1")));
  EXPECT_THAT(config_error({{"additional_special_tokens", "<a>"}}), HasSubstr("a list of tokens"));
  folder.config = Json::object();
  folder.write("added_tokens.json", R"({"<a>": -1})");
  EXPECT_THAT(error(), AllOf(HasSubstr("added_tokens.json: <a>"), HasSubstr("token id")));
}

TEST(SentencePieceTokenizer, ReportsInvalidUtf8) {
  const auto tokenizer = ModelFolder().load();
  EXPECT_THROW(tokenizer->encode("a\xFFz", kAsText), DataError);
}

TEST(SentencePieceTokenizer, SeveralThreadsGetTheSameIds) {
  const auto tokenizer = ModelFolder().load();
  const std::string text = "the quick brown fox jumps 123 times \u5b57";
  const TokenIds expected = tokenizer->encode(text, kAsText);
  std::vector<TokenIds> found(4);
  std::vector<std::thread> threads;
  for (TokenIds& ids : found) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) ids = tokenizer->encode(text, kAsText);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const TokenIds& ids : found) EXPECT_EQ(ids, expected);
}

}  // namespace
}  // namespace clara
