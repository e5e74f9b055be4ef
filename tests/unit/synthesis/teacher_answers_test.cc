// Answers are read leniently as JSON and strictly as values.
#include "synthesis/teacher_answers.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

const std::vector<QaPair> kTwo = {{"Who?", "Ada"}, {"Where?", "Belmar"}};

TEST(TeacherAnswers, PairsInTheirFormsAreTheSame) {
  const std::string list =
      R"([{"question": " Who?", "answer": "Ada "}, {"question": "Where?", "answer": "Belmar"}])";
  for (const std::string& text :
       {list, "{\"pairs\": " + list + "}", "Of [1]:\n```\n{\"qa_pairs\": " + list + ",}\n```",
        std::string(
            R"({"question":"Who?","answer":"Ada"} {"question":"Where?","answer":"Belmar"})")}) {
    const auto answer = read_pairs(text);
    ASSERT_TRUE(answer) << text;
    EXPECT_EQ(answer->pairs, kTwo) << text;
  }
}

TEST(TeacherAnswers, WhatIsNoPairIsCountedAndWhatIsNoAnswerIsNone) {
  const auto answer = read_pairs(
      R"({"pairs": [{"question": "Who?", "answer": "Ada"}, {"question": "x"}, {"question": "y", "answer": 3}]})");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->pairs.size(), 1U);
  EXPECT_EQ(answer->num_malformed, 2U);
  for (const char* text :
       {"", "no", "[1, 2]", R"({"pairs": {}})", R"({"pairs": []})", "{\"pairs\": ["})
    EXPECT_FALSE(read_pairs(text)) << text;
}

TEST(TeacherAnswers, AParaphraseIsAString) {
  EXPECT_EQ(read_paraphrase("Here: {\"paraphrase\": \" Other words. \"}"), "Other words.");
  EXPECT_FALSE(read_paraphrase("{\"paraphrase\": [\"a\"]}"));
  EXPECT_FALSE(read_paraphrase("Other words."));
}

TEST(TeacherAnswers, AVerdictIsCompleteOnlyIfNothingIsMissingOrWrong) {
  EXPECT_TRUE(read_verdict(R"({"covered": ["a"], "missing": [], "wrong": [], "complete": true})", 2)
                  ->is_complete);
  EXPECT_TRUE(read_verdict(R"({"missing": [], "complete": true})", 2)->is_complete);
  EXPECT_TRUE(read_verdict(R"({"missing": [" "], "complete": true})", 2)->is_complete);
  EXPECT_FALSE(read_verdict(R"({"missing": [], "complete": false})", 2)->is_complete);
  const auto missing = read_verdict(R"({"missing": ["the year"], "complete": true})", 2);
  EXPECT_FALSE(missing->is_complete);
  EXPECT_EQ(missing->missing, std::vector<std::string>{"the year"});
  const auto wrong = read_verdict(R"({"missing": [], "wrong": [2], "complete": true})", 2);
  EXPECT_FALSE(wrong->is_complete);
  EXPECT_EQ(wrong->wrong_pairs, std::vector<std::size_t>{1});
  const auto claims =
      read_verdict(R"({"missing": [], "wrong": ["was king"], "complete": true})", 0);
  EXPECT_FALSE(claims->is_complete);
  EXPECT_EQ(claims->wrong_claims, std::vector<std::string>{"was king"});
}

TEST(TeacherAnswers, AVerdictOfOtherTypesIsNone) {
  for (const char* text :
       {"complete", R"({"complete": true})", R"({"missing": [], "complete": "true"})",
        R"({"missing": "none", "complete": true})", R"({"missing": [1], "complete": true})",
        R"({"missing": [], "covered": 1, "complete": true})",
        R"({"missing": [], "wrong": [3], "complete": false})",
        R"({"missing": [], "wrong": [0], "complete": false})",
        R"({"missing": [], "wrong": ["a"], "complete": false})"}) {
    EXPECT_FALSE(read_verdict(text, 2)) << text;
  }
}

TEST(TeacherAnswers, SchemasAreClosedObjectsWithEveryMemberRequired) {
  for (const AnswerSchema* schema :
       {&kPairsSchema, &kParaphraseSchema, &kQuestionsVerdictSchema, &kParaphraseVerdictSchema}) {
    const auto json = nlohmann::json::parse(schema->json);
    EXPECT_EQ(json.at("type"), "object");
    EXPECT_EQ(json.at("additionalProperties"), false);
    EXPECT_EQ(json.at("required").size(), json.at("properties").size());
  }
}

}  // namespace
}  // namespace clara
