// Laws of comparing methods: means, intervals, the paired test, and which questions it takes.
#include "clara/eval/comparison.h"

#include <cmath>
#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/eval/result_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kExactMatch = 0, kRecallAt1 = 6;

class Methods : public testing::Test {
 protected:
  void add(const std::string& name, const std::vector<Prediction>& predictions,
           const EvalResult& result = make_result()) {
    const auto folder = folder_ / std::to_string(sources_.size());
    write_results(folder, result, predictions);
    sources_.push_back({name, folder});
  }
  Comparison compare(const std::string& baseline = "", std::int32_t num_resamples = 1000) const {
    return compare_methods(collect_method_results(sources_), {baseline, {num_resamples, 0.95, 17}});
  }
  std::string error_of(const std::string& baseline) const {
    try {
      compare(baseline);
    } catch (const Error& error) {
      return error.what();
    }
    return "accepted";
  }

  TemporaryFolder folder_;
  std::vector<MethodSource> sources_;
};

TEST_F(Methods, StandInBlocksOfBenchmarkAndSettingNormalFirst) {
  add("a", make_predictions("1"), make_result("nq", EvalSetting::kOracle));
  add("b", make_predictions("1"), make_result("hotpotqa"));
  add("a", make_predictions("0"), make_result("nq"));
  const Comparison comparison = compare();
  EXPECT_THAT(comparison.methods, ElementsAre("a", "b"));
  ASSERT_EQ(comparison.blocks.size(), 3u);
  EXPECT_EQ(comparison.blocks[0].benchmark, "nq");
  EXPECT_EQ(comparison.blocks[0].setting, EvalSetting::kNormal);
  EXPECT_EQ(comparison.blocks[1].setting, EvalSetting::kOracle);
  EXPECT_EQ(comparison.blocks[2].results[0], nullptr);
  EXPECT_EQ(comparison.blocks[0].estimates[0][kExactMatch].value.mean, 0);
  EXPECT_EQ(comparison.blocks[1].estimates[0][kExactMatch].value.mean, 1);
}

TEST_F(Methods, HaveTheMeansOfScoresFileWithIntervals) {
  add("a", make_predictions("1101000100"));
  const Comparison comparison = compare();
  const MetricEstimates& estimates = comparison.blocks[0].estimates[0];
  const EvalScores& scores = comparison.source.results[0].result.scores;
  EXPECT_DOUBLE_EQ(estimates[0].value.mean, scores.first.mean.exact_match);
  EXPECT_DOUBLE_EQ(estimates[1].value.mean, scores.first.mean.f1);
  EXPECT_DOUBLE_EQ(estimates[5].value.mean, scores.best.mean.cover_exact_match);
  EXPECT_DOUBLE_EQ(estimates[6].value.mean, scores.retrieval.recall[0]);
  EXPECT_LT(estimates[0].value.low, 0.4);
  EXPECT_GT(estimates[0].value.high, 0.4);
  EXPECT_EQ(estimates[0].num_questions, 10);
  EXPECT_FALSE(estimates[0].against_baseline);
  EXPECT_THAT(comparison.notes, IsEmpty());
}

TEST_F(Methods, WithoutPredictionsHaveTheirMeansAndANote) {
  add("a", make_predictions("1100"));
  std::filesystem::remove(folder_ / "0/predictions.jsonl");
  const Comparison comparison = compare("a");
  EXPECT_EQ(comparison.blocks[0].estimates[0][kExactMatch].value.mean, 0.5);
  EXPECT_FALSE(comparison.blocks[0].estimates[0][kExactMatch].has_interval);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("no predictions.jsonl")));
}

TEST_F(Methods, AreTestedAgainstTheBaselineByTheSignsOfTheirDifferences) {
  // Three questions differ, all in favour of b: of the eight ways to give signs to their
  // differences two are as extreme as the observed one: p = 2/8.
  add("a", make_predictions("00011000"));
  add("b", make_predictions("11111000"));
  // Two more of the same kind against one other: sums of ±1 of three: |sum| ≥ 1 always: p = 1.
  add("c", make_predictions("10101000"));
  const Comparison comparison = compare("a", 20000);
  const auto& estimates = comparison.blocks[0].estimates;
  EXPECT_FALSE(estimates[0][kExactMatch].against_baseline);
  ASSERT_TRUE(estimates[1][kExactMatch].against_baseline);
  EXPECT_DOUBLE_EQ(estimates[1][kExactMatch].against_baseline->difference.mean, 3.0 / 8);
  const double tolerance = 4 * std::sqrt(0.25 * 0.75 / 20000);
  EXPECT_NEAR(estimates[1][kExactMatch].against_baseline->permutation_p_value, 0.25, tolerance);
  EXPECT_EQ(estimates[1][kExactMatch].num_paired, 8);
  EXPECT_EQ(estimates[2][kExactMatch].against_baseline->permutation_p_value, 1);
}

TEST_F(Methods, ThatAreTheSameCannotBeToldApartAndChangingSidesChangesTheSign) {
  add("a", make_predictions("110100"));
  add("same", make_predictions("110100"));
  add("b", make_predictions("111101"));
  const Comparison by_a = compare("a"), by_b = compare("b");
  const auto& same = by_a.blocks[0].estimates[1];
  for (const MetricEstimate& estimate : same) {
    ASSERT_TRUE(estimate.against_baseline);
    EXPECT_EQ(estimate.against_baseline->difference.mean, 0);
    EXPECT_EQ(estimate.against_baseline->permutation_p_value, 1);
    EXPECT_EQ(estimate.against_baseline->bootstrap_p_value, 1);
  }
  const auto& there = by_a.blocks[0].estimates[2][kExactMatch].against_baseline;
  const auto& back = by_b.blocks[0].estimates[0][kExactMatch].against_baseline;
  EXPECT_DOUBLE_EQ(there->difference.mean, 2.0 / 6);
  EXPECT_DOUBLE_EQ(back->difference.mean, -2.0 / 6);
  EXPECT_EQ(there->permutation_p_value, back->permutation_p_value);
  EXPECT_NEAR(there->difference.low, -back->difference.high, 1e-12);
}

TEST_F(Methods, AreComparedQuestionByQuestionWhateverTheirOrder) {
  const auto predictions = make_predictions("110100");
  add("a", predictions);
  add("backwards", {predictions.rbegin(), predictions.rend()});
  const Comparison comparison = compare("a");
  EXPECT_EQ(comparison.blocks[0].estimates[1][kExactMatch].against_baseline->permutation_p_value,
            1);
}

TEST_F(Methods, ThatAnsweredDifferentQuestionsAreComparedOnTheCommonOnes) {
  add("all", make_predictions("000000"));
  add("some", make_predictions("1111"));
  const Comparison comparison = compare("all");
  const MetricEstimate& estimate = comparison.blocks[0].estimates[1][kExactMatch];
  EXPECT_EQ(estimate.num_paired, 4);
  EXPECT_EQ(estimate.num_questions, 4);
  EXPECT_EQ(estimate.against_baseline->difference.mean, 1);
  EXPECT_THAT(comparison.notes,
              Contains("hotpotqa, normal: some (4 questions) and all (6) are compared on the 4 "
                       "that both answered."));
  EXPECT_THAT(comparison.notes,
              Contains("hotpotqa, normal: different numbers of questions: all 6, some 4."));
}

TEST_F(Methods, WithoutACommonQuestionAreAnError) {
  add("a", make_predictions("11"));
  auto others = make_predictions("11");
  for (Prediction& prediction : others) prediction.id = "other " + prediction.id;
  add("b", others);
  const std::string error = error_of("a");
  EXPECT_THAT(error, HasSubstr("hotpotqa, normal: expected questions that b and the baseline a"));
  EXPECT_THAT(error, HasSubstr("found none"));
}

TEST_F(Methods, WhoseIdsStandForDifferentQuestionsAreAnError) {
  add("a", make_predictions("11"));
  auto others = make_predictions("11");
  others[1].question = "Another question?";
  add("b", others);
  EXPECT_THAT(error_of("a"), HasSubstr("expected the same question under the id q1"));
}

TEST_F(Methods, ThatAnswerAQuestionTwiceAreComparedByTheMeanAndANoteSaysSo) {
  add("once", make_predictions("10"));
  auto predictions = make_predictions("10");
  predictions.push_back(make_prediction(0, "no idea"));
  add("twice", predictions);
  const Comparison comparison = compare("once");
  const MetricEstimate& estimate = comparison.blocks[0].estimates[1][kExactMatch];
  EXPECT_EQ(estimate.value.mean, 0.25);
  EXPECT_EQ(estimate.num_questions, 2);
  EXPECT_EQ(estimate.against_baseline->difference.mean, -0.25);
  EXPECT_THAT(comparison.notes, Contains(HasSubstr("twice (hotpotqa, normal): 3 answers to 2")));
}

TEST_F(Methods, AreCountedWhileTheyAreCompared) {
  add("a", make_predictions("10"));
  add("b", make_predictions("10"));
  std::vector<std::int64_t> seen;
  compare_methods(collect_method_results(sources_), {"a", {10, 0.95, 17}},
                  [&](std::int64_t done) { seen.push_back(done); });
  EXPECT_THAT(seen, ElementsAre(0, 1, 2));
}

TEST_F(Methods, WithoutRankingHaveNoRecall) {
  auto predictions = make_predictions("10");
  for (Prediction& prediction : predictions) {
    prediction.ranking = prediction.selected = prediction.positives = {};
    prediction.scores.clear();
    prediction.documents.clear();
    prediction.num_gold = 0;
  }
  add("none", predictions);
  add("ranked", make_predictions("10"));
  const Comparison comparison = compare("none");
  EXPECT_EQ(comparison.blocks[0].estimates[0][kRecallAt1].num_questions, 0);
  EXPECT_EQ(comparison.blocks[0].estimates[1][kRecallAt1].num_questions, 2);
  EXPECT_FALSE(comparison.blocks[0].estimates[1][kRecallAt1].against_baseline);
}

TEST_F(Methods, ABaselineThatIsNoneIsAnErrorAndOneThatIsNotEverywhereANote) {
  add("a", make_predictions("10"));
  add("b", make_predictions("10"), make_result("nq"));
  EXPECT_THAT(error_of("c"), HasSubstr("expected one of the methods (a, b), found \"c\""));
  EXPECT_THAT(compare("a").notes,
              Contains("nq, normal: no predictions of the baseline a: no test."));
}

}  // namespace
}  // namespace clara
