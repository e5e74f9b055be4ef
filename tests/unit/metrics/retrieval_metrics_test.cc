// Recall and precision at k by hand-counted rankings, and their means.
#include "clara/metrics/retrieval_metrics.h"

#include <stdexcept>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using Documents = std::vector<std::int32_t>;
using ::testing::ElementsAre;

TEST(RetrievalMetrics, CountGoldAmongTheFirstK) {
  const Documents ranked = {4, 7, 1, 9, 0};
  const Documents gold = {1, 4, 5};
  EXPECT_DOUBLE_EQ(recall_at_k(ranked, gold, 1), 1.0 / 3);
  EXPECT_DOUBLE_EQ(recall_at_k(ranked, gold, 2), 1.0 / 3);
  EXPECT_DOUBLE_EQ(recall_at_k(ranked, gold, 3), 2.0 / 3);
  EXPECT_DOUBLE_EQ(recall_at_k(ranked, gold, 5), 2.0 / 3);
  EXPECT_DOUBLE_EQ(precision_at_k(ranked, gold, 1), 1);
  EXPECT_DOUBLE_EQ(precision_at_k(ranked, gold, 2), 0.5);
  EXPECT_DOUBLE_EQ(precision_at_k(ranked, gold, 3), 2.0 / 3);
  EXPECT_DOUBLE_EQ(precision_at_k(ranked, gold, 5), 0.4);
}

TEST(RetrievalMetrics, DivideByKWhereFewerAreRanked) {
  EXPECT_DOUBLE_EQ(precision_at_k(Documents{2}, Documents{2}, 5), 0.2);
  EXPECT_DOUBLE_EQ(recall_at_k(Documents{2}, Documents{2}, 5), 1);
  EXPECT_DOUBLE_EQ(recall_at_k(Documents{}, Documents{2}, 5), 0);
}

TEST(RetrievalMetrics, CountADocumentOnce) {
  EXPECT_DOUBLE_EQ(recall_at_k(Documents{3, 3, 4}, Documents{3, 4, 4}, 2), 1);
  EXPECT_DOUBLE_EQ(precision_at_k(Documents{3, 3, 5}, Documents{3}, 2), 0.5);
}

TEST(RetrievalMetrics, RecallNeverFallsWithK) {
  const Documents ranked = {8, 2, 6, 1, 3, 0};
  const Documents gold = {6, 3, 11};
  double before = 0;
  for (std::int32_t k = 1; k <= 8; ++k) {
    const double now = recall_at_k(ranked, gold, k);
    EXPECT_GE(now, before);
    before = now;
  }
  EXPECT_DOUBLE_EQ(before, 2.0 / 3);
}

TEST(RetrievalMetrics, AverageOverQuestionsWithGoldAndCountTheOthers) {
  RetrievalMetrics metrics;
  metrics.add(Documents{1, 2, 3, 4, 5}, Documents{1});     // found at 1
  metrics.add(Documents{1, 2, 3, 4, 5}, Documents{3, 9});  // half found at 3
  metrics.add(Documents{1, 2, 3, 4, 5}, Documents{});
  RetrievalMetrics others;
  others.add(Documents{1, 2, 3, 4, 5}, Documents{5});  // found at 5
  others.add(Documents{1, 2, 3, 4, 5}, Documents{8});  // never
  others.add(Documents{}, Documents{});
  metrics.add(others);
  const RetrievalSummary summary = metrics.summary();
  EXPECT_EQ(summary.num_questions, 4);
  EXPECT_EQ(summary.num_without_gold, 2);
  EXPECT_THAT(RetrievalSummary::kCutoffs, ElementsAre(1, 3, 5));
  EXPECT_THAT(summary.recall, ElementsAre(0.25, 0.375, 0.625));
  EXPECT_THAT(summary.precision,
              ElementsAre(0.25, ::testing::DoubleEq(2.0 / 12), ::testing::DoubleEq(0.6 / 4)));
}

TEST(RetrievalMetrics, WithoutAnyGoldAreZerosAndSaySo) {
  RetrievalMetrics metrics;
  metrics.add(Documents{1}, Documents{});
  EXPECT_EQ(metrics.summary().num_questions, 0);
  EXPECT_EQ(metrics.summary().num_without_gold, 1);
  EXPECT_THAT(metrics.summary().recall, ElementsAre(0, 0, 0));
}

TEST(RetrievalMetrics, RefuseKBelowOneAndNoGold) {
  EXPECT_THROW(recall_at_k(Documents{1}, Documents{1}, 0), std::invalid_argument);
  EXPECT_THROW(precision_at_k(Documents{1}, Documents{}, 1), std::invalid_argument);
}

}  // namespace
}  // namespace clara
