// Laws of predictions.jsonl and of scoring it again without the model.
#include "clara/eval/score.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::HasSubstr;

Prediction example() {
  Prediction prediction;
  prediction.row = 7;
  prediction.id = "q7";
  prediction.question = "Who \"built\" it?\n";
  prediction.prediction = "The Eiffel Tower company";
  prediction.answers = {"Gustave Eiffel", "Eiffel"};
  prediction.ranking = {2, 0, 1};
  prediction.scores = {0.25F, -0.1F, 0.9F};
  prediction.selected = {2, 0};
  prediction.positives = {0};
  prediction.num_gold = 2;
  prediction.origins = {-1, 1, 0};
  prediction.documents = {"Tower\nBuilt in 1889.", "b", "c"};
  return prediction;
}

void expect_equal(const EvalScores& a, const EvalScores& b) {
  const auto expect_same = [](const AnswerSummary& x, const AnswerSummary& y) {
    EXPECT_EQ(x.num_questions, y.num_questions);
    EXPECT_EQ(x.mean.exact_match, y.mean.exact_match);
    EXPECT_EQ(x.mean.f1, y.mean.f1);
    EXPECT_EQ(x.mean.cover_exact_match, y.mean.cover_exact_match);
    EXPECT_EQ(x.mean.contiguous_cover_match, y.mean.contiguous_cover_match);
  };
  expect_same(a.first, b.first);
  expect_same(a.best, b.best);
  EXPECT_EQ(a.retrieval.recall, b.retrieval.recall);
  EXPECT_EQ(a.retrieval.precision, b.retrieval.precision);
  EXPECT_EQ(a.retrieval.num_questions, b.retrieval.num_questions);
  EXPECT_EQ(a.retrieval.num_without_gold, b.retrieval.num_without_gold);
}

std::string fault_of(const std::string& json) {
  try {
    parse_prediction(json, "p.jsonl:3");
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(PredictionLine, ReadsBackToTheSamePrediction) {
  const std::string line = prediction_to_json(example());
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const Prediction read = parse_prediction(line, "p.jsonl:1");
  EXPECT_EQ(read.row, example().row);
  EXPECT_EQ(read.id, example().id);
  EXPECT_EQ(read.question, example().question);
  EXPECT_EQ(read.prediction, example().prediction);
  EXPECT_EQ(read.answers, example().answers);
  EXPECT_EQ(read.ranking, example().ranking);
  EXPECT_EQ(read.scores, example().scores);
  EXPECT_EQ(read.selected, example().selected);
  EXPECT_EQ(read.positives, example().positives);
  EXPECT_EQ(read.num_gold, example().num_gold);
  EXPECT_EQ(read.origins, example().origins);
  EXPECT_EQ(read.documents, example().documents);
  EXPECT_EQ(prediction_to_json(read), line);
}

TEST(PredictionLine, FaultsNamePlaceFieldAndWhatWasFound) {
  EXPECT_EQ(fault_of("{"),
            "p.jsonl:3: expected one JSON object of a prediction, found invalid JSON");
  EXPECT_EQ(fault_of("{\"row\": 1}"),
            "p.jsonl:3: question: expected a string, found no such field");
  std::string line = prediction_to_json(example());
  line.replace(line.find("\"positives\":[0]"), 15, "\"positives\":[3]");
  EXPECT_THAT(fault_of(line), HasSubstr("p.jsonl:3: positives: expected different candidates"));
  line = prediction_to_json(example());
  line.replace(line.find("\"positives\":[0]"), 15, "\"positives\":[4294967296]");
  EXPECT_THAT(fault_of(line), HasSubstr("positives: expected a list of whole numbers, found 429"));
  line = prediction_to_json(example());
  line.replace(line.find("\"num_gold\":2"), 12, "\"num_gold\":0");
  EXPECT_THAT(fault_of(line), HasSubstr("num_gold: expected at least the number of positives (1)"));
  Prediction prediction = example();
  prediction.documents.pop_back();
  EXPECT_THAT(fault_of(prediction_to_json(prediction)),
              HasSubstr("documents: expected a text for each of the 3 ranked candidates, found 2"));
}

TEST(PredictionLine, OfBeforeDocumentsWereRecordedIsRead) {
  Prediction prediction = example();
  prediction.documents.clear();
  const std::string line = prediction_to_json(prediction);
  EXPECT_EQ(line.find("documents"), std::string::npos);
  EXPECT_TRUE(parse_prediction(line, "p.jsonl:1").documents.empty());
}

TEST(ScoreSums, BothProtocolsAreTheMeansOverQuestions) {
  ScoreSums sums;
  Prediction prediction = example();
  prediction.prediction = "Eiffel";  // the alias: wrong under `first`, right under `best`
  sums.add(prediction);
  prediction.prediction = "gustave eiffel!";
  sums.add(prediction);
  const EvalScores scores = sums.scores();
  EXPECT_EQ(scores.first.num_questions, 2);
  EXPECT_DOUBLE_EQ(scores.first.mean.exact_match, 0.5);
  EXPECT_DOUBLE_EQ(scores.best.mean.exact_match, 1.0);
  EXPECT_NEAR(scores.first.mean.f1, (2.0 / 3 + 1) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(scores.best.mean.cover_exact_match, 1.0);
}

TEST(ScoreSums, GoldThatIsNoCandidateLowersRecallOnly) {
  ScoreSums sums;
  sums.add(example());  // one of two gold documents is a candidate, ranked second
  const RetrievalSummary retrieval = sums.scores().retrieval;
  EXPECT_DOUBLE_EQ(retrieval.recall[0], 0.0);
  EXPECT_DOUBLE_EQ(retrieval.recall[1], 0.5);
  EXPECT_DOUBLE_EQ(retrieval.recall[2], 0.5);
  EXPECT_NEAR(retrieval.precision[1], 1.0 / 3, 1e-12);
}

TEST(ScoreSums, QuestionsWithoutGoldAreCountedApartAndUnrankedOnesNotAtAll) {
  ScoreSums sums;
  sums.add(example());
  Prediction without_gold = example();
  without_gold.positives.clear();
  without_gold.num_gold = 0;
  sums.add(without_gold);
  Prediction unranked = without_gold;
  unranked.ranking.clear();
  unranked.selected.clear();
  sums.add(unranked);
  EXPECT_EQ(sums.scores().first.num_questions, 3);
  EXPECT_EQ(sums.scores().retrieval.num_questions, 1);
  EXPECT_EQ(sums.scores().retrieval.num_without_gold, 1);
}

TEST(ScorePredictionsFile, GivesTheNumbersOfTheRunThatWroteIt) {
  const TemporaryFolder folder;
  ScoreSums sums;
  {
    std::ofstream file(folder / "predictions.jsonl");
    for (int i = 0; i < 37; ++i) {
      Prediction prediction = example();
      prediction.row = i;
      if (i % 3 == 0) prediction.prediction = "Gustave the " + std::to_string(i);
      if (i % 5 == 0) prediction.ranking = {0, 1, 2};
      sums.add(prediction);
      file << prediction_to_json(prediction) << "\n";
    }
  }
  expect_equal(score_predictions_file(folder / "predictions.jsonl"), sums.scores());
}

TEST(ScorePredictionsFile, MissingEmptyAndTornFilesAreErrorsWithTheirPlace) {
  const TemporaryFolder folder;
  EXPECT_THROW(score_predictions_file(folder / "none.jsonl"), DataError);
  EXPECT_THROW(score_predictions_file(folder.path()), DataError);
  std::ofstream(folder / "empty.jsonl") << "\n";
  EXPECT_THROW(score_predictions_file(folder / "empty.jsonl"), DataError);
  const std::string line = prediction_to_json(example());
  std::ofstream(folder / "torn.jsonl") << line << "\n" << line.substr(0, line.size() / 2);
  try {
    score_predictions_file(folder / "torn.jsonl");
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("torn.jsonl:2: expected one JSON object"));
  }
}

}  // namespace
}  // namespace clara
