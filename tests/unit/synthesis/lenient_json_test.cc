// Laws of reading what is nearly JSON.
#include "synthesis/lenient_json.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

using Texts = std::vector<std::string>;

TEST(LenientJson, StrictJsonComesOutWithTheSameValue) {
  const std::string text =
      R"({"a": [1, -2.5e3, true, null, "x\n\"\u00e9\ud83d\ude00\\"], "b": {}})";
  const Texts found = find_json(text);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(nlohmann::json::parse(found[0]), nlohmann::json::parse(text));
}

TEST(LenientJson, ProseAndFencesAroundAreLeftOut) {
  EXPECT_EQ(find_json("Sure {as you wish}!\n```json\n{\"a\": 1}\n```\nDone [really]."),
            Texts{R"({"a":1})"});
  EXPECT_EQ(find_json("<think>maybe {\"a\": 0}</think>{\"a\": 1}"), Texts{R"({"a":1})"});
  EXPECT_EQ(find_json("{\"a\":1}\n{\"a\":2}"), (Texts{R"({"a":1})", R"({"a":2})"}));
  EXPECT_TRUE(find_json("nothing here").empty());
}

TEST(LenientJson, WhatModelsGetWrongIsMended) {
  EXPECT_EQ(find_json("[1, 2,]"), Texts{"[1,2]"});
  EXPECT_EQ(find_json("{\"a\": [\"x\",], }"), Texts{R"({"a":["x"]})"});
  EXPECT_EQ(find_json("{“a”: “it's \"so\"”}").size(), 0U) << "closed by the straight quote";
  EXPECT_EQ(find_json("{“a”: “it's so”}"), Texts{R"({"a":"it's so"})"});
  EXPECT_EQ(find_json("{„a“: «b»}"), Texts{R"({"a":"b"})"});
  EXPECT_EQ(find_json("{'a': 'b \"c\"', 'd': True, 'e': None}"),
            Texts{R"({"a":"b \"c\"","d":true,"e":null})"});
  EXPECT_EQ(find_json("{\"a\": \"two\nlines\tand\"}"),
            Texts{"{\"a\":\"two\\u000alines\\u0009and\"}"});
  EXPECT_EQ(find_json(R"({"a": "it\'s \_"})"), Texts{R"({"a":"it's _"})"});
  EXPECT_EQ(find_json("{\"a\": \"she said “no” twice\"}"),
            Texts{"{\"a\":\"she said “no” twice\"}"});
}

TEST(LenientJson, WhatCannotBeMendedIsNotThere) {
  EXPECT_TRUE(find_json("{\"a\": \"cut").empty());
  EXPECT_TRUE(find_json("{\"a\" 1}").empty());
  EXPECT_TRUE(find_json(R"(["\ud83d"])").empty());
  EXPECT_TRUE(find_json(R"(["\udc00"])").empty());
  EXPECT_TRUE(find_json(R"(["\u12"])").empty());
  EXPECT_TRUE(find_json("[01]").empty());
  EXPECT_TRUE(find_json("[\"\xE9t\xE9\"]").empty());
  EXPECT_EQ(find_json("[{\"a\":1}, {\"b\":").size(), 1U) << "the whole object of a list cut off";
}

TEST(LenientJson, DeepAndEndlessBracketsEnd) {
  EXPECT_TRUE(find_json(std::string(100000, '[')).empty());
  EXPECT_TRUE(find_json(std::string(100000, '{')).empty());
  std::string deep(40, '[');
  EXPECT_FALSE(find_json(deep + std::string(40, ']')).empty()) << "the inner ones";
}

TEST(LenientJson, EveryMutationGivesStrictJsonOrNothing) {
  const std::string text =
      "x```json\n{“pairs”: [{'question': \"a\\u00e9\\n\", \"answer\": “b”,}, ],}\n```";
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'"', '\\', '{', ']', '\xE2', '\0', 'u', ','}) {
      std::string mutated = text;
      mutated[i] = c;
      for (const std::string& found : find_json(mutated))
        EXPECT_TRUE(nlohmann::json::accept(found)) << found;
    }
  }
}

}  // namespace
}  // namespace clara
