// What the checks refuse, and why.
#include "synthesis/answer_checks.h"

#include <string>

#include <gtest/gtest.h>

namespace clara {
namespace {

constexpr const char* kDocument =
    "Mara Tolvek was a cartographer from Belmar. She was born in 1827, won the Silver Harp in 1860 "
    "and drew the first map of the River Oskel, which the town still shows to its visitors.";

const char* refuse(const QaPair& pair, const CheckSettings& settings = {},
                   SynthesisKind kind = SynthesisKind::kSimpleQa) {
  return AnswerChecker(kDocument, kind, settings)
      .refuse_pair(pair, {{"When was Mara Tolvek born?", "1827"}});
}

const char* refuse_text(const std::string& paraphrase, const CheckSettings& settings = {}) {
  return AnswerChecker(kDocument, SynthesisKind::kParaphrase, settings)
      .refuse_paraphrase(paraphrase);
}

TEST(AnswerChecks, AGoodPairPasses) {
  EXPECT_EQ(refuse({"Which prize did Mara Tolvek win?", "the SILVER harp"}), nullptr);
}

TEST(AnswerChecks, EachReasonByItself) {
  EXPECT_STREQ(refuse({"?", "Belmar"}), kEmptyText);
  EXPECT_STREQ(refuse({"Where was she from?", " - "}), kEmptyText);
  EXPECT_STREQ(refuse({"Who taught Mara Tolvek?", "Ferdinand of Astur"}), kUngrounded);
  EXPECT_STREQ(refuse({"Was Mara from Belmar?", "belmar"}), kLeaked);
  EXPECT_STREQ(refuse({"When was, Mara Tolvek, born", "1827"}), kRepeated);
  EXPECT_STREQ(refuse({"When exactly was Mara Tolvek born?", "1827"}), kRepeated);  // 5 of 6 words
  EXPECT_EQ(refuse({"In which year was Mara Tolvek born?", "1827"}), nullptr);      // 4 of 8
  EXPECT_STREQ(refuse({"Where was she from?", "Bel\xC3mar"}), kBadCharacters);
  EXPECT_STREQ(refuse({"Where was she from?", "Bel\uFFFDmar"}), kBadCharacters);
  EXPECT_STREQ(refuse({std::string("Where\0was she from?", 19), "Belmar"}), kBadCharacters);
  CheckSettings settings;
  settings.max_question_characters = 5;
  EXPECT_STREQ(refuse({"Where?", "Belmar"}, settings), kTooLong);
  EXPECT_EQ(refuse({"Döit?", "Belmar"}, settings), nullptr) << "characters, not bytes";
}

TEST(AnswerChecks, SettingsMoveTheLimits) {
  CheckSettings settings;
  settings.refuses_leaks = false;
  settings.max_question_overlap = 1;
  settings.min_grounding = 0;
  EXPECT_EQ(refuse({"Was Mara from Belmar?", "Belmar"}, settings), nullptr);
  EXPECT_EQ(refuse({"When was, Mara Tolvek, born", "1827"}, settings), nullptr);
  EXPECT_EQ(refuse({"Who taught her?", "Ferdinand"}, settings), nullptr);
  const QaPair concluded = {"How old was the cartographer when she won her prize?", "thirty-three"};
  EXPECT_STREQ(refuse(concluded), kUngrounded);
  EXPECT_EQ(refuse(concluded, {}, SynthesisKind::kComplexQa), nullptr);
}

TEST(AnswerChecks, AParaphraseIsNeitherACopyNorSomethingElse) {
  const std::string good =
      "Belmar was where Mara Tolvek, by trade a cartographer, came from; her birth fell in 1827. "
      "The "
      "first map of Oskel, the river, is hers, and visitors to the town can see it today. In 1860 "
      "she "
      "received the Silver Harp.";
  EXPECT_EQ(refuse_text(good), nullptr);
  EXPECT_STREQ(refuse_text(kDocument), kTooClose);
  EXPECT_STREQ(refuse_text("She drew a map."), kLengthOff);
  EXPECT_STREQ(refuse_text(good + good + good), kLengthOff);
  std::string other;
  for (int i = 0; i < 35; ++i) other += "lorem" + std::to_string(i) + " ";
  EXPECT_STREQ(refuse_text(other), kTooFar);
  EXPECT_STREQ(refuse_text(" "), kEmptyText);
  EXPECT_STREQ(refuse_text(good + "\x01"), kBadCharacters);
}

}  // namespace
}  // namespace clara
