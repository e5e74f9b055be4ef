// ROUGE against a recording of rouge_score; names by hand.
#include "clara/metrics/paraphrase_metrics.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Rouge, EqualsTheRecordedScores) {
  const std::string path = std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/metrics/rouge.json";
  std::ifstream file(path);
  const auto rows = nlohmann::json::parse(file);
  ASSERT_GE(rows.size(), 70U);
  for (const auto& row : rows) {
    const RougeScores scores = rouge_scores(row.at("candidate").get<std::string>(),
                                            row.at("reference").get<std::string>());
    EXPECT_NEAR(scores.rouge_1, row.at("rouge1").get<double>(), 1e-12) << row;
    EXPECT_NEAR(scores.rouge_2, row.at("rouge2").get<double>(), 1e-12) << row;
    EXPECT_NEAR(scores.rouge_l, row.at("rougeL").get<double>(), 1e-12) << row;
  }
}

TEST(Rouge, CountsLettersOfEveryScript) {
  EXPECT_EQ(rouge_scores("Жёлтый дом", "жёлтый ДОМ").rouge_2, 1.0);
  EXPECT_EQ(rouge_scores("東京", "大阪").rouge_1, 0.0);
}

TEST(NameWords, AreCapitalisedWordsAndNumbersEachOnce) {
  EXPECT_THAT(name_words("The mill of West Govot was built in 1866. It is West Govot's pride."),
              ElementsAre("west", "govot", "1866"));
  EXPECT_THAT(name_words("Émile lives at no. 3b; Émile works."), ElementsAre("émile", "3b"));
  EXPECT_THAT(name_words("there is nothing here"), IsEmpty());
}

TEST(NameRecall, IsTheShareOfNamesThatComeThrough) {
  const std::string document = "Draza Jastur founded Yeseth Workshops in 1866.";
  EXPECT_DOUBLE_EQ(name_recall(document, document), 1.0);
  EXPECT_DOUBLE_EQ(name_recall("draza jastur set up a firm in 1866", document), 0.6);
  EXPECT_DOUBLE_EQ(name_recall("", document), 0.0);
  EXPECT_DOUBLE_EQ(name_recall("", "nothing to keep"), 1.0);
}

}  // namespace
}  // namespace clara
