// Intervals and p values: exact from the seed, right on cases that can be computed by hand.
#include "clara/metrics/bootstrap.h"

#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

namespace clara {
namespace {

std::vector<double> zeros_and_ones(std::size_t num_zeros, std::size_t num_ones) {
  std::vector<double> values(num_zeros, 0.0);
  values.insert(values.end(), num_ones, 1.0);
  return values;
}

TEST(BootstrapMean, IsExactFromTheSeed) {
  const auto values = zeros_and_ones(30, 20);
  const MeanInterval one = bootstrap_mean(values, {500, 0.9, 3});
  const MeanInterval same = bootstrap_mean(values, {500, 0.9, 3});
  EXPECT_EQ(one.low, same.low);
  EXPECT_EQ(one.high, same.high);
  std::vector<double> distinct(97);
  for (std::size_t i = 0; i < distinct.size(); ++i) distinct[i] = std::sqrt(static_cast<double>(i));
  EXPECT_NE(bootstrap_mean(distinct, {500, 0.9, 3}).low,
            bootstrap_mean(distinct, {500, 0.9, 4}).low);
}

TEST(BootstrapMean, OfEqualValuesHasNoWidth) {
  const MeanInterval interval = bootstrap_mean(std::vector<double>(10, 0.5));
  EXPECT_EQ(interval.mean, 0.5);
  EXPECT_EQ(interval.low, 0.5);
  EXPECT_EQ(interval.high, 0.5);
  EXPECT_EQ(bootstrap_mean(std::vector<double>{2.0}).high, 2.0);
}

TEST(BootstrapMean, HasTheWidthOfTheNormalApproximation) {
  // 1000 coin flips: standard error sqrt(0.3 · 0.7 / 1000).
  const auto values = zeros_and_ones(700, 300);
  const double standard_error = std::sqrt(0.3 * 0.7 / 1000);
  const MeanInterval interval = bootstrap_mean(values, {20000, 0.95, 17});
  EXPECT_DOUBLE_EQ(interval.mean, 0.3);
  EXPECT_NEAR(interval.low, 0.3 - 1.96 * standard_error, 0.1 * standard_error);
  EXPECT_NEAR(interval.high, 0.3 + 1.96 * standard_error, 0.1 * standard_error);
  const MeanInterval narrow = bootstrap_mean(values, {20000, 0.5, 17});
  EXPECT_NEAR(narrow.high - narrow.low, 2 * 0.6745 * standard_error, 0.2 * standard_error);
}

TEST(BootstrapRatio, OfEqualDenominatorsIsTheMean) {
  std::vector<double> values(53);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<double>(i));
  const MeanInterval mean = bootstrap_mean(values, {500, 0.9, 3});
  const MeanInterval ratio =
      bootstrap_ratio(values, std::vector<double>(values.size(), 1.0), {500, 0.9, 3});
  EXPECT_NEAR(ratio.mean, mean.mean, 1e-12);
  EXPECT_NEAR(ratio.low, mean.low, 1e-12);
  EXPECT_NEAR(ratio.high, mean.high, 1e-12);
}

TEST(BootstrapRatio, WeighsQuestionsByTheirDenominators) {
  const std::vector<double> numerators = {2, 9}, denominators = {1, 3};
  const MeanInterval ratio = bootstrap_ratio(numerators, denominators, {2000, 0.95, 17});
  EXPECT_DOUBLE_EQ(ratio.mean, 11.0 / 4);
  EXPECT_DOUBLE_EQ(ratio.low, 2);   // the first twice
  EXPECT_DOUBLE_EQ(ratio.high, 3);  // the second twice
  EXPECT_THROW(bootstrap_ratio(numerators, std::vector<double>{1, 0}), std::invalid_argument);
  EXPECT_THROW(bootstrap_ratio(numerators, std::vector<double>{1}), std::invalid_argument);
  EXPECT_THROW(bootstrap_ratio({}, {}), std::invalid_argument);
}

TEST(BootstrapMean, RefusesSettingsOutOfRange) {
  const std::vector<double> values = {1};
  EXPECT_THROW(bootstrap_mean({}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(values, {0, 0.95, 1}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(values, {10, 0, 1}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(values, {10, 1, 1}), std::invalid_argument);
  EXPECT_THROW(bootstrap_mean(values, {10, std::numeric_limits<double>::quiet_NaN(), 1}),
               std::invalid_argument);
}

TEST(ComparePaired, EqualSystemsCannotBeToldApart) {
  const auto scores = zeros_and_ones(10, 10);
  const PairedComparison result = compare_paired(scores, scores);
  EXPECT_EQ(result.difference.mean, 0);
  EXPECT_EQ(result.difference.low, 0);
  EXPECT_EQ(result.difference.high, 0);
  EXPECT_EQ(result.bootstrap_p_value, 1);
  EXPECT_EQ(result.permutation_p_value, 1);
}

TEST(ComparePaired, PermutationEqualsTheEnumerationOfAllSigns) {
  const std::vector<double> a = {0.9, 0.1, 0.7, 0.8, 0.55, 0.6, 0.95, 0.3};
  const std::vector<double> b = {0.4, 0.2, 0.3, 0.7, 0.50, 0.1, 0.65, 0.4};
  double observed = 0;
  for (std::size_t i = 0; i < a.size(); ++i) observed += a[i] - b[i];
  int num_extreme = 0;
  for (unsigned signs = 0; signs < 256; ++signs) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i)
      sum += ((signs >> i) & 1) != 0 ? a[i] - b[i] : b[i] - a[i];
    num_extreme += std::abs(sum) >= std::abs(observed) - 1e-9 ? 1 : 0;
  }
  const double exact = num_extreme / 256.0;
  // Four standard deviations of the estimate.
  const double tolerance = 4 * std::sqrt(exact * (1 - exact) / 50000);
  EXPECT_NEAR(compare_paired(a, b, {50000, 0.95, 5}).permutation_p_value, exact, tolerance);
}

TEST(ComparePaired, IsAntisymmetric) {
  const std::vector<double> a = {1, 0, 1, 1, 0, 1, 1, 1, 0, 1};
  const std::vector<double> b = {0, 0, 1, 0, 0, 1, 0, 1, 1, 1};
  const PairedComparison forward = compare_paired(a, b);
  const PairedComparison backward = compare_paired(b, a);
  EXPECT_DOUBLE_EQ(forward.difference.mean, 0.2);
  EXPECT_DOUBLE_EQ(forward.difference.mean, -backward.difference.mean);
  EXPECT_NEAR(forward.difference.low, -backward.difference.high, 1e-12);
  EXPECT_EQ(forward.bootstrap_p_value, backward.bootstrap_p_value);
  EXPECT_EQ(forward.permutation_p_value, backward.permutation_p_value);
}

TEST(ComparePaired, SeesAClearDifferenceAndNeverSaysImpossible) {
  const auto a = std::vector<double>(50, 0.9);
  const auto b = std::vector<double>(50, 0.1);
  const PairedComparison result = compare_paired(a, b, {999, 0.95, 1});
  EXPECT_GT(result.difference.low, 0);
  EXPECT_DOUBLE_EQ(result.permutation_p_value, 1.0 / 1000);
  EXPECT_DOUBLE_EQ(result.bootstrap_p_value, 2.0 / 1000);
}

TEST(ComparePaired, RejectsATrueHypothesisAboutAsOftenAsItMay) {
  std::mt19937_64 engine(11);
  int num_rejected = 0, num_below_half = 0;
  constexpr int kTrials = 400;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> a(40);
    std::vector<double> b(40);
    for (std::size_t i = 0; i < a.size(); ++i) {
      a[i] = static_cast<double>(engine() % 1000);
      b[i] = static_cast<double>(engine() % 1000);
    }
    const double p = compare_paired(a, b, {300, 0.95, engine()}).permutation_p_value;
    num_rejected += p <= 0.1 ? 1 : 0;
    num_below_half += p <= 0.5 ? 1 : 0;
  }
  // 40 expected; five standard deviations (6) to each side.
  EXPECT_GT(num_rejected, 10);
  EXPECT_LT(num_rejected, 70);
  // 200 expected; five standard deviations (10) to each side.
  EXPECT_GT(num_below_half, 150);
  EXPECT_LT(num_below_half, 250);
}

TEST(BootstrapMeans, GiveEachColumnWhatItGetsAlone) {
  std::mt19937_64 engine(5);
  constexpr std::size_t kQuestions = 60, kColumns = 3;
  std::vector<double> a, b;
  for (std::size_t i = 0; i < kQuestions * kColumns; ++i) {
    a.push_back(static_cast<double>(engine() % 100) / 100);
    b.push_back(static_cast<double>(engine() % 100) / 120);
  }
  const ResamplingSettings settings{400, 0.9, 3};
  const auto intervals = bootstrap_means(a, kColumns, settings);
  const auto comparisons = compare_paired_columns(a, b, kColumns, settings);
  ASSERT_EQ(intervals.size(), kColumns);
  ASSERT_EQ(comparisons.size(), kColumns);
  for (std::size_t c = 0; c < kColumns; ++c) {
    std::vector<double> a_alone, b_alone;
    for (std::size_t i = 0; i < kQuestions; ++i) {
      a_alone.push_back(a[i * kColumns + c]);
      b_alone.push_back(b[i * kColumns + c]);
    }
    const MeanInterval interval = bootstrap_mean(a_alone, settings);
    EXPECT_EQ(intervals[c].mean, interval.mean);
    EXPECT_EQ(intervals[c].low, interval.low);
    EXPECT_EQ(intervals[c].high, interval.high);
    const PairedComparison comparison = compare_paired(a_alone, b_alone, settings);
    EXPECT_EQ(comparisons[c].difference.low, comparison.difference.low);
    EXPECT_EQ(comparisons[c].bootstrap_p_value, comparison.bootstrap_p_value);
    EXPECT_EQ(comparisons[c].permutation_p_value, comparison.permutation_p_value);
  }
  EXPECT_NE(intervals[0].mean, intervals[1].mean);
  EXPECT_THROW(bootstrap_means(a, 0), std::invalid_argument);
  EXPECT_THROW(bootstrap_means(a, 7), std::invalid_argument);
}

TEST(ComparePaired, RefusesDifferentQuestions) {
  EXPECT_THROW(compare_paired(std::vector<double>{1}, std::vector<double>{1, 2}),
               std::invalid_argument);
  EXPECT_THROW(compare_paired({}, {}), std::invalid_argument);
}

}  // namespace
}  // namespace clara
