// Laws of reading tokenizer.json: both forms of merges, and errors that name the file and the
// member.
#include <functional>
#include <string>

#include "tests/unit/tokenizer/tiny_tokenizer.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "no error";
}

std::string error_after(const std::function<void(Json&)>& change) {
  TinyTokenizer tiny;
  tiny.add("<|im_end|>");
  change(tiny.tokenizer);
  return error_of([&] { tiny.load(); });
}

TEST(TokenizerJson, ReadsMergesInBothForms) {
  TinyTokenizer lines;
  TinyTokenizer pairs;
  for (Json& merge : pairs.tokenizer["model"]["merges"]) {
    const std::string line = merge;
    const std::size_t blank = line.find(' ');
    merge = {line.substr(0, blank), line.substr(blank + 1)};
  }
  const auto a = lines.load();
  const auto b = pairs.load();
  EXPECT_EQ(a->encode("hello hello", SpecialTokenText::kParse),
            b->encode("hello hello", SpecialTokenText::kParse));
}

TEST(TokenizerJson, AcceptsWhatHasNoMeaningForIds) {
  EXPECT_EQ(error_after([](Json& json) {
              json["padding"] = {{"strategy", "BatchLongest"}};
              json["post_processor"] = {{"type", "TemplateProcessing"}, {"single", Json::array()}};
              json["decoder"] = {{"type", "Sequence"},
                                 {"decoders", {{{"type", "ByteLevel"}}, {{"type", "Fuse"}}}}};
              json["model"].erase("type");
              json["model"]["dropout"] = 0.0;
              json["model"]["continuing_subword_prefix"] = "";
            }),
            "no error");
}

TEST(TokenizerJson, NamesMissingMembers) {
  for (const char* member : {"model", "decoder"}) {
    const std::string error = error_after([&](Json& json) { json.erase(member); });
    EXPECT_THAT(error, AllOf(HasSubstr("tokenizer.json"), HasSubstr(member)));
  }
  for (const char* member : {"vocab", "merges"}) {
    const std::string error = error_after([&](Json& json) { json["model"].erase(member); });
    EXPECT_THAT(error, AllOf(HasSubstr("tokenizer.json: model"), HasSubstr(member)));
  }
  for (const char* member : {"id", "content", "special", "lstrip", "normalized"}) {
    const std::string error =
        error_after([&](Json& json) { json["added_tokens"][0].erase(member); });
    EXPECT_THAT(error, AllOf(HasSubstr("added_tokens[0]"), HasSubstr(member)));
  }
}

TEST(TokenizerJson, NamesMembersOfAWrongType) {
  const Json wrong_values[] = {nullptr, 5, "text", Json::array({1}), true, 1.5};
  for (const char* member : {"model", "pre_tokenizer", "decoder", "added_tokens", "normalizer"}) {
    for (const Json& wrong : wrong_values) {
      const bool may_be_null =
          wrong.is_null() && member != std::string("model") && member != std::string("decoder");
      if (may_be_null) continue;
      const std::string error = error_after([&](Json& json) { json[member] = wrong; });
      EXPECT_THAT(error, AllOf(HasSubstr("tokenizer.json"), HasSubstr(member))) << wrong;
    }
  }
  for (const char* member :
       {"vocab", "merges", "ignore_merges", "unk_token", "end_of_word_suffix"}) {
    const std::string error = error_after([&](Json& json) { json["model"][member] = 5; });
    EXPECT_THAT(error, HasSubstr(std::string("model.") + member));
  }
  EXPECT_THAT(error_after([](Json& json) { json["model"]["vocab"]["a"] = -1; }),
              HasSubstr("\"a\""));
  EXPECT_THAT(error_after([](Json& json) { json["model"]["vocab"]["a"] = 99999999999; }),
              HasSubstr("\"a\""));
  EXPECT_THAT(error_after([](Json& json) { json["added_tokens"][0]["special"] = "yes"; }),
              HasSubstr("added_tokens[0].special"));
}

TEST(TokenizerJson, NamesMergesOfUnknownTokens) {
  EXPECT_THAT(error_after([](Json& json) { json["model"]["merges"].push_back("h xyz"); }),
              AllOf(HasSubstr("model.merges[5]"), HasSubstr("xyz")));
  EXPECT_THAT(error_after([](Json& json) { json["model"]["merges"].push_back("o o"); }),
              AllOf(HasSubstr("model.merges[5]"), HasSubstr("\"oo\"")));
  for (const Json& merge :
       {Json("ab"), Json("a b c"), Json(5), Json::array({"a"}), Json::array({"a", 1})}) {
    EXPECT_THAT(error_after([&](Json& json) { json["model"]["merges"].push_back(merge); }),
                HasSubstr("model.merges[5]"))
        << merge;
  }
}

TEST(TokenizerJson, RefusesIdsThatAreUsedTwiceOrDoNotFit) {
  EXPECT_THAT(error_after([](Json& json) { json["model"]["vocab"]["new"] = 7; }),
              HasSubstr("another token has the id 7"));
  EXPECT_THAT(
      error_after([](Json& json) { json["added_tokens"].push_back(json["added_tokens"][0]); }),
      HasSubstr("added_tokens[1].content"));
  EXPECT_THAT(error_after([](Json& json) { json["added_tokens"][0]["id"] = 400; }),
              AllOf(HasSubstr("added_tokens[0].id"), HasSubstr("400"), HasSubstr("261")));
  EXPECT_THAT(error_after([](Json& json) { json["added_tokens"][0]["content"] = ""; }),
              HasSubstr("added_tokens[0].content"));
}

TEST(TokenizerJson, NamesWhatIsNotSupported) {
  const std::pair<const char*, Json> changes[] = {
      {"/model/type", "Unigram"},
      {"/model/dropout", 0.1},
      {"/normalizer", {{"type", "Lowercase"}}},
      {"/pre_tokenizer", {{"type", "UnicodeScripts"}}},
      {"/pre_tokenizer", {{"type", "Metaspace"}, {"replacement", "ab"}}},
      {"/pre_tokenizer",
       {{"type", "Metaspace"}, {"replacement", "_"}, {"prepend_scheme", "sometimes"}}},
      {"/pre_tokenizer",
       {{"type", "Metaspace"},
        {"replacement", "_"},
        {"prepend_scheme", "first"},
        {"add_prefix_space", false}}},
      {"/decoder", {{"type", "BPEDecoder"}}},
      {"/decoder",
       {{"type", "Sequence"}, {"decoders", {{{"type", "ByteLevel"}}, {{"type", "CTC"}}}}}},
      {"/decoder", {{"type", "Strip"}, {"content", " "}, {"start", -1}, {"stop", 0}}},
      {"/decoder", {{"type", "Replace"}, {"pattern", {{"String", ""}}}, {"content", ""}}},
  };
  for (const auto& [path, value] : changes) {
    std::string member = std::string(path).substr(1);
    std::replace(member.begin(), member.end(), '/', '.');
    const std::string error =
        error_after([&](Json& json) { json[Json::json_pointer(path)] = value; });
    EXPECT_THAT(error, AllOf(HasSubstr(member), HasSubstr("expected"))) << value;
  }
  const std::string twice = error_after([](Json& json) {
    const Json cut = json["pre_tokenizer"];
    json["pre_tokenizer"] = {{"type", "Sequence"}, {"pretokenizers", {cut, cut}}};
  });
  EXPECT_THAT(twice, HasSubstr("pre_tokenizer.pretokenizers[1]"));
}

TEST(TokenizerJson, ByteFallbackOfAByteLevelVocabularyNeedsAllBytes) {
  EXPECT_EQ(error_after([](Json& json) { json["model"]["byte_fallback"] = true; }), "no error");
  EXPECT_THAT(error_after([](Json& json) {
                json["model"]["byte_fallback"] = true;
                json["model"]["vocab"].erase("z");
              }),
              HasSubstr("model.byte_fallback"));
}

TEST(TokenizerJson, AffixesBelongToByteLevelVocabularies) {
  EXPECT_THAT(error_after([](Json& json) {
                json["pre_tokenizer"] = nullptr;
                json["model"]["end_of_word_suffix"] = "</w>";
              }),
              AllOf(HasSubstr("model.end_of_word_suffix"), HasSubstr("byte-level")));
}

TEST(TokenizerJson, NamesBadPatterns) {
  auto with_pattern = [](const Json& pattern) {
    return error_after([&](Json& json) {
      const Json split = {
          {"type", "Split"}, {"pattern", pattern}, {"behavior", "Isolated"}, {"invert", false}};
      json["pre_tokenizer"] = {{"type", "Sequence"},
                               {"pretokenizers", {split, json["pre_tokenizer"]}}};
    });
  };
  EXPECT_EQ(with_pattern({{"Regex", "a+"}}), "no error");
  EXPECT_THAT(with_pattern({{"Regex", "(a"}}),
              AllOf(HasSubstr("pre_tokenizer.pretokenizers[0].pattern.Regex"), HasSubstr("(a")));
  EXPECT_THAT(with_pattern({{"Regex", "a{2}+"}}), HasSubstr("not supported"));
  EXPECT_THAT(with_pattern({{"String", ""}}), HasSubstr("pattern.String"));
  EXPECT_THAT(with_pattern("a"), HasSubstr("pattern"));
}

TEST(TokenizerJson, UnknownTokenMustExistWhereBytesAreMissing) {
  const std::string error = error_after([](Json& json) {
    json["model"]["unk_token"] = "<unk>";
    json["model"]["vocab"].erase("z");
  });
  EXPECT_THAT(error, HasSubstr("model.unk_token"));
  EXPECT_EQ(error_after([](Json& json) { json["model"]["unk_token"] = "<unk>"; }), "no error");
}

TEST(TokenizerJson, SurvivesTruncationAtEveryPlace) {
  TinyTokenizer tiny;
  tiny.add("<|im_end|>");
  const std::string whole = tiny.tokenizer.dump();
  for (std::size_t size = 0; size < whole.size(); size += 37) {
    tiny.write("tokenizer.json", whole.substr(0, size));
    EXPECT_THAT(error_of([&] { load_tokenizer(tiny.folder()); }),
                AllOf(HasSubstr("tokenizer.json"), HasSubstr("not a JSON file")));
  }
}

TEST(TokenizerJson, SurvivesEveryMemberReplaced) {
  TinyTokenizer tiny;
  tiny.add("<|im_end|>");
  tiny.tokenizer["model"]["vocab"] = {{"a", 0}, {"b", 1}, {"ab", 2}};
  tiny.tokenizer["model"]["merges"] = {"a b"};
  tiny.tokenizer["added_tokens"][0]["id"] = 3;
  const Json flat = tiny.tokenizer.flatten();
  for (const auto& [path, value] : flat.items()) {
    for (const Json& wrong :
         {Json(nullptr), Json(-3), Json("x"), Json::object(), Json::array({Json()})}) {
      Json changed = tiny.tokenizer;
      changed[Json::json_pointer(path)] = wrong;
      tiny.write("tokenizer.json", changed.dump());
      try {
        load_tokenizer(tiny.folder())->encode("ab<|im_end|>", SpecialTokenText::kParse);
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr("tokenizer.json")) << path;
      }
    }
  }
}

TEST(TokenizerFolder, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { load_tokenizer(folder.path()); }),
              HasSubstr("tokenizer.json is missing"));
  EXPECT_THAT(error_of([&] { load_tokenizer(folder / "absent"); }), HasSubstr("found nothing"));
  std::ofstream(folder / "tokenizer.model") << "x";
  EXPECT_THAT(error_of([&] { load_tokenizer(folder.path()); }), HasSubstr("SentencePiece"));
}

TEST(TokenizerFolder, ChecksTheConfig) {
  TinyTokenizer tiny;
  tiny.config = {{"eos_token", "<absent>"}};
  EXPECT_THAT(error_of([&] { tiny.load(); }), AllOf(HasSubstr("eos_token"), HasSubstr("<absent>")));
  tiny.config = {{"eos_token", 5}};
  EXPECT_THAT(error_of([&] { tiny.load(); }),
              AllOf(HasSubstr("tokenizer_config.json"), HasSubstr("eos_token")));
  tiny.config = {{"eos_token", {{"text", "x"}}}};
  EXPECT_THAT(error_of([&] { tiny.load(); }), HasSubstr("content"));
  tiny.config = Json::array();
  EXPECT_THAT(error_of([&] { tiny.load(); }), HasSubstr("expected an object"));
}

}  // namespace
}  // namespace clara
