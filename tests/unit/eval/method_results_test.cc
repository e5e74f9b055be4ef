// Laws of finding, naming and reading the results of methods.
#include "clara/eval/method_results.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/eval/result_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_of(const MethodResults& results) {
  std::vector<std::string> names;
  for (const MethodResult& result : results.results) names.push_back(result.method);
  return names;
}

class MethodFolders : public testing::Test {
 protected:
  void write(const std::string& name, const EvalResult& result, const std::string& pattern = "10") {
    write_results(folder_ / name, result, make_predictions(pattern));
  }
  std::vector<std::string> collected(const std::vector<MethodSource>& sources) {
    return names_of(collect_method_results(sources));
  }
  std::string error_of(const std::vector<MethodSource>& sources) {
    try {
      collect_method_results(sources);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
};

TEST_F(MethodFolders, AreNamedAfterTheRunAndWhatIsUnusual) {
  EvalResult result = make_result();
  write("runs/joint/eval/hotpotqa_normal", result);
  result.settings.select = DocumentSelector::kBm25;
  write("runs/joint/eval/hotpotqa_normal_bm25", result);
  result.settings.context = AnswerContext::kText;
  write("runs/joint/eval/hotpotqa_normal_bm25_text", result);
  result.settings.context = AnswerContext::kNone;
  write("runs/joint/eval/hotpotqa_normal_none", result);
  write("runs/joint/eval/hotpotqa_oracle", make_result("hotpotqa", EvalSetting::kOracle));
  EXPECT_THAT(
      collected({{"", folder_ / "runs/joint"}}),
      ElementsAre("joint", "joint (bm25)", "joint (bm25, text)", "joint (no documents)", "joint"));
  // A result folder says nothing else than its run does; a trailing slash changes nothing.
  EXPECT_THAT(collected({{"", folder_ / "runs/joint/eval/hotpotqa_normal_bm25/"},
                         {"", folder_ / "runs/joint/eval/hotpotqa_normal/scores.json"}}),
              ElementsAre("joint (bm25)", "joint"));
  // A given name stands as it is, but for a run that was evaluated in several ways.
  EXPECT_THAT(collected({{"BM25", folder_ / "runs/joint/eval/hotpotqa_normal_bm25"}}),
              ElementsAre("BM25"));
  EXPECT_THAT(collected({{"CLaRa", folder_ / "runs/joint/"}})[1], "CLaRa (bm25)");
  result = make_result();
  result.settings.context = AnswerContext::kText;
  write("runs/text/eval/hotpotqa_normal_text", result);
  EXPECT_THAT(collected({{"", folder_ / "runs/text"}}), ElementsAre("text (text)"));
  // Read as the checkpoint learned to.
  result.origin.context = AnswerContext::kText;
  write("runs/tuned/eval/hotpotqa_normal", result);
  EXPECT_THAT(collected({{"", folder_ / "runs/tuned"}}), ElementsAre("tuned"));
  EXPECT_THAT(collected({{"full text", folder_ / "runs/text"}}), ElementsAre("full text"));
}

TEST_F(MethodFolders, AreToldApartByAsMuchOfThePathAsThatTakes) {
  write("a/joint/eval/hotpotqa_normal", make_result());
  write("b/joint/eval/hotpotqa_normal", make_result());
  write("b/joint/final/eval/nq_normal", make_result("nq"));
  EXPECT_THAT(collected({{"", folder_ / "a/joint"}, {"", folder_ / "b/joint"}}),
              ElementsAre("a/joint", "b/joint"));
  EXPECT_THAT(collected({{"", folder_ / "b/joint/final"}}), ElementsAre("joint"));
}

TEST_F(MethodFolders, OneResultGivenTwiceCountsOnceAndTwoOfOneMethodAreAnError) {
  write("joint/eval/hotpotqa_normal", make_result());
  EXPECT_THAT(collected({{"", folder_ / "joint"}, {"", folder_ / "joint/eval/hotpotqa_normal"}}),
              ElementsAre("joint"));
  write("other", make_result());
  const std::string error = error_of({{"x", folder_ / "joint"}, {"x", folder_ / "other"}});
  EXPECT_THAT(error, HasSubstr("found two of x, hotpotqa, normal"));
  EXPECT_THAT(error, HasSubstr("NAME=DIR"));
}

TEST_F(MethodFolders, RunsOfOneMethodHaveTheMeansOfTheirScores) {
  write("17/joint/eval/hotpotqa_normal", make_result(), "1100");
  write("18/joint/eval/hotpotqa_normal", make_result(), "1010");
  write("19/joint/eval/hotpotqa_normal", make_result(), "1000");
  write("other", make_result(), "0000");
  const MethodResults read = collect_method_results({{"x", folder_ / "17/joint", true},
                                                     {"y", folder_ / "other"},
                                                     {"x", folder_ / "18/joint", true},
                                                     {"x", folder_ / "19/joint", true}});
  EXPECT_THAT(names_of(read), ElementsAre("x", "y"));
  const MethodResult& mean = read.results[0];
  EXPECT_EQ(mean.num_predictions, 12);
  std::vector<double> exact;
  for (const QuestionScores& question : mean.questions) exact.push_back(question.answers[0]);
  EXPECT_THAT(exact, ElementsAre(DoubleEq(1), DoubleEq(1.0 / 3), DoubleEq(1.0 / 3), DoubleEq(0)));
  EXPECT_DOUBLE_EQ(mean.questions[0].recall[0], 0.5);
  EXPECT_EQ(mean.questions[0].num_answers, 3);
  EXPECT_EQ(mean.examples.size(), 4u);

  write("20/joint", make_result(), "100");
  EXPECT_THAT(error_of({{"x", folder_ / "17/joint", true}, {"x", folder_ / "20/joint", true}}),
              HasSubstr("x: expected the same questions"));
  std::filesystem::remove(folder_ / "20/joint/predictions.jsonl");
  EXPECT_THAT(error_of({{"x", folder_ / "20/joint", true}, {"x", folder_ / "17/joint", true}}),
              HasSubstr("x: expected the same questions"));
}

TEST_F(MethodFolders, WithoutResultsAreAnError) {
  std::filesystem::create_directories(folder_ / "empty/eval");
  EXPECT_THAT(error_of({{"", folder_ / "empty"}}), HasSubstr("found none of these"));
  EXPECT_THAT(error_of({{"", folder_ / "missing"}}), HasSubstr("found nothing"));
}

TEST_F(MethodFolders, KeepTheScoresOfEveryQuestionAndTheFirstExamples) {
  write_results(folder_ / "joint", make_result(), make_predictions("1010"));
  const MethodResults read = collect_method_results({{"", folder_ / "joint"}}, {3, 9});
  const MethodResult& method = read.results.front();
  ASSERT_EQ(method.questions.size(), 4u);
  EXPECT_EQ(method.questions[0].answers[0], 1);
  EXPECT_EQ(method.questions[1].answers[0], 0);
  EXPECT_EQ(method.questions[2].id, "q2");
  EXPECT_EQ(method.questions[0].recall[0], 0.5);
  EXPECT_EQ(method.questions[0].recall[1], 1.0);
  ASSERT_EQ(method.examples.size(), 3u);
  EXPECT_TRUE(method.examples[0].prediction.documents.empty());
  // Cut at nine characters the documents of all questions are the same four.
  EXPECT_THAT(read.documents,
              ElementsAre("Title 0\nT…", "Title 1\nT…", "Title 2\nT…", "Title 3\nT…"));
  EXPECT_THAT(method.examples[2].documents, ElementsAre(0, 1, 2, 3));
}

TEST_F(MethodFolders, AQuestionAnsweredSeveralTimesHasTheMeanOfItsScores) {
  auto predictions = make_predictions("11");
  predictions.push_back(make_prediction(1, "no idea", {3, 1, 0, 2}));
  write_results(folder_ / "joint", make_result(), predictions);
  const MethodResults read = collect_method_results({{"", folder_ / "joint"}});
  ASSERT_EQ(read.results[0].questions.size(), 2u);
  EXPECT_EQ(read.results[0].num_predictions, 3);
  const QuestionScores& twice = read.results[0].questions[1];
  EXPECT_EQ(twice.num_answers, 2);
  EXPECT_EQ(twice.answers[0], 0.5);
  EXPECT_EQ(twice.recall[0], 0.25);
}

TEST_F(MethodFolders, OfBeforeRatesAndDocumentsWereRecordedStillWork) {
  EvalResult result = make_result();
  result.origin.compression_rate = 0;
  auto predictions = make_predictions("10");
  for (Prediction& prediction : predictions) prediction.documents.clear();
  write_results(folder_ / "run/eval/hotpotqa_normal", result, predictions);
  MethodResults read = collect_method_results({{"", folder_ / "run"}});
  EXPECT_EQ(read.results[0].result.origin.compression_rate, 0);
  EXPECT_TRUE(read.results[0].examples[0].documents.empty());
  // The run's own description has the rate.
  std::filesystem::create_directories(folder_ / "run/final");
  std::ofstream(folder_ / "run/final/clara.json") << R"({"compression_rate": 32})";
  read = collect_method_results({{"", folder_ / "run"}});
  EXPECT_EQ(read.results[0].result.origin.compression_rate, 32);
}

TEST_F(MethodFolders, HaveTheCurvesOfTheirRuns) {
  write("runs/joint/eval/hotpotqa_normal", make_result());
  std::ofstream(folder_ / "runs/joint/metrics.jsonl")
      << R"({"step": 0, "validation/loss": 3.5, "validation/recall@1": 0.25})"
      << "\n"
      << R"({"step": 1, "loss": 2.5, "rows": 8})"
      << "\n"
      << R"({"step": 2, "lo)";  // a killed run
  const MethodResults read = collect_method_results({{"CLaRa", folder_ / "runs/joint"}});
  ASSERT_EQ(read.curves.size(), 1u);
  EXPECT_EQ(read.curves[0].run, "CLaRa");
  EXPECT_THAT(read.curves[0].loss, ElementsAre(std::make_pair(1.0, 2.5)));
  EXPECT_THAT(read.curves[0].validation_loss, ElementsAre(std::make_pair(0.0, 3.5)));
  EXPECT_THAT(read.curves[0].validation_recall[0], ElementsAre(std::make_pair(0.0, 0.25)));
  std::ofstream(folder_ / "runs/joint/metrics.jsonl") << "{}\n{\"step\": 1}\n";
  EXPECT_THAT(error_of({{"", folder_ / "runs/joint"}}), HasSubstr("metrics.jsonl:1: expected"));
}

TEST_F(MethodFolders, OfADamagedFileNameItsLine) {
  write("joint", make_result());
  std::ofstream(folder_ / "joint/predictions.jsonl", std::ios::app) << "{\"row\": 3";
  EXPECT_THAT(error_of({{"", folder_ / "joint"}}), HasSubstr("predictions.jsonl:3: "));
}

TEST(ParseMethodSources, SplitsNameAndFolders) {
  const TemporaryFolder folder;
  const auto only = [](const std::string& argument) {
    const std::vector<MethodSource> sources = parse_method_sources(argument);
    EXPECT_EQ(sources.size(), 1u) << argument;
    EXPECT_FALSE(sources.front().is_repetition) << argument;
    return sources.front();
  };
  EXPECT_EQ(only("runs/joint").name, "");
  EXPECT_EQ(only("CLaRa, 16×=runs/a=b").name, "CLaRa, 16×");
  EXPECT_EQ(only("CLaRa, 16×=runs/a=b").path, "runs/a=b");
  std::filesystem::create_directories(folder / "a=b");
  EXPECT_EQ(only((folder / "a=b").string()).path, folder / "a=b");
  std::filesystem::create_directories(folder / "a,b");
  EXPECT_EQ(only("x=" + (folder / "a,b").string()).path, folder / "a,b");
  const std::vector<MethodSource> seeds = parse_method_sources("joint=runs/1,runs/2");
  ASSERT_EQ(seeds.size(), 2u);
  for (const MethodSource& seed : seeds) {
    EXPECT_EQ(seed.name, "joint");
    EXPECT_TRUE(seed.is_repetition);
  }
  EXPECT_EQ(seeds[1].path, "runs/2");
  for (const char* wrong : {"=runs", "name=", "name=a,", "name=,a"})
    EXPECT_THROW(parse_method_sources(wrong), ConfigError) << wrong;
}

}  // namespace
}  // namespace clara
