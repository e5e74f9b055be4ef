// Percentile bootstrap and sign-flip permutation test.
#include "clara/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace clara {
namespace {

// The standard fixes the numbers of the engine but not those of its distributions: hence an own
// uniform draw.
class IndexDraw {
 public:
  IndexDraw(std::uint64_t seed, std::size_t limit) : engine_(seed), limit_(limit) {}

  std::size_t operator()() {
    constexpr std::uint64_t kMax = std::numeric_limits<std::uint64_t>::max();
    const std::uint64_t fair_end = kMax - kMax % limit_;
    std::uint64_t drawn = engine_();
    while (drawn >= fair_end) drawn = engine_();
    return static_cast<std::size_t>(drawn % limit_);
  }

 private:
  std::mt19937_64 engine_;
  std::uint64_t limit_;
};

/// Number of questions.
std::size_t check(std::size_t num_values, std::size_t num_columns,
                  const ResamplingSettings& settings) {
  if (num_columns == 0 || num_values % num_columns != 0) {
    throw std::invalid_argument("bootstrap: num_columns: expected a divisor of " +
                                std::to_string(num_values) + ", found " +
                                std::to_string(num_columns));
  }
  if (num_values == 0)
    throw std::invalid_argument("bootstrap: expected at least one value, found none");
  if (settings.num_resamples < 1) {
    throw std::invalid_argument("bootstrap: num_resamples: expected at least 1, found " +
                                std::to_string(settings.num_resamples));
  }
  if (!(settings.confidence > 0 && settings.confidence < 1)) {
    throw std::invalid_argument("bootstrap: confidence: expected a number between 0 and 1, found " +
                                std::to_string(settings.confidence));
  }
  return num_values / num_columns;
}

std::vector<double> column_sums(std::span<const double> values_NC, std::size_t num_columns) {
  std::vector<double> sums(num_columns, 0);
  for (std::size_t i = 0; i < values_NC.size(); ++i) sums[i % num_columns] += values_NC[i];
  return sums;
}

/// Means of resamples of each column, ascending.
std::vector<std::vector<double>> resampled_means(std::span<const double> values_NC,
                                                 std::size_t num_columns,
                                                 const ResamplingSettings& settings) {
  const std::size_t num_questions = values_NC.size() / num_columns;
  IndexDraw draw(settings.seed, num_questions);
  const auto num_resamples = static_cast<std::size_t>(settings.num_resamples);
  std::vector<std::vector<double>> means(num_columns, std::vector<double>(num_resamples));
  std::vector<double> sums(num_columns);
  for (std::size_t resample = 0; resample < num_resamples; ++resample) {
    std::fill(sums.begin(), sums.end(), 0.0);
    for (std::size_t i = 0; i < num_questions; ++i) {
      const double* question = &values_NC[draw() * num_columns];
      for (std::size_t c = 0; c < num_columns; ++c) sums[c] += question[c];
    }
    for (std::size_t c = 0; c < num_columns; ++c)
      means[c][resample] = sums[c] / static_cast<double>(num_questions);
  }
  for (auto& of_column : means) std::sort(of_column.begin(), of_column.end());
  return means;
}

double quantile(const std::vector<double>& sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (sorted[above] - sorted[below]) * (place - static_cast<double>(below));
}

MeanInterval interval_of(double mean, const std::vector<double>& sorted, double confidence) {
  const double tail = (1 - confidence) / 2;
  return {mean, quantile(sorted, tail), quantile(sorted, 1 - tail)};
}

/// Two-sided sign-flip test of each column.
std::vector<double> sign_flip_p_values(const std::vector<double>& differences_NC,
                                       std::size_t num_columns,
                                       const ResamplingSettings& settings) {
  const std::size_t num_questions = differences_NC.size() / num_columns;
  std::vector<double> thresholds = column_sums(differences_NC, num_columns);
  std::vector<double> scales(num_columns, 0);
  for (std::size_t i = 0; i < differences_NC.size(); ++i)
    scales[i % num_columns] += std::abs(differences_NC[i]);
  // Sums of the same numbers in another arrangement differ by rounding: they must still count as
  // equal.
  for (std::size_t c = 0; c < num_columns; ++c)
    thresholds[c] = std::abs(thresholds[c]) - 1e-12 * scales[c];
  std::mt19937_64 engine(settings.seed ^ 0x5167F11BULL);
  std::vector<std::int64_t> num_extreme(num_columns, 0);
  std::vector<double> flipped(num_columns);
  for (std::int32_t resample = 0; resample < settings.num_resamples; ++resample) {
    std::fill(flipped.begin(), flipped.end(), 0.0);
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < num_questions; ++i) {
      if (i % 64 == 0) bits = engine();
      const double sign = (bits & 1) != 0 ? 1 : -1;
      const double* question = &differences_NC[i * num_columns];
      for (std::size_t c = 0; c < num_columns; ++c) flipped[c] += sign * question[c];
      bits >>= 1;
    }
    for (std::size_t c = 0; c < num_columns; ++c)
      num_extreme[c] += std::abs(flipped[c]) >= thresholds[c] ? 1 : 0;
  }
  std::vector<double> p_values;
  for (const std::int64_t count : num_extreme) {
    p_values.push_back(static_cast<double>(count + 1) /
                       (static_cast<double>(settings.num_resamples) + 1));
  }
  return p_values;
}

}  // namespace

std::vector<MeanInterval> bootstrap_means(std::span<const double> values_NC,
                                          std::size_t num_columns,
                                          const ResamplingSettings& settings) {
  const auto num_questions = static_cast<double>(check(values_NC.size(), num_columns, settings));
  const std::vector<double> sums = column_sums(values_NC, num_columns);
  const auto means = resampled_means(values_NC, num_columns, settings);
  std::vector<MeanInterval> intervals;
  for (std::size_t c = 0; c < num_columns; ++c)
    intervals.push_back(interval_of(sums[c] / num_questions, means[c], settings.confidence));
  return intervals;
}

MeanInterval bootstrap_mean(std::span<const double> values, const ResamplingSettings& settings) {
  return bootstrap_means(values, 1, settings).front();
}

MeanInterval bootstrap_ratio(std::span<const double> numerators,
                             std::span<const double> denominators,
                             const ResamplingSettings& settings) {
  const std::size_t num_questions = check(numerators.size(), 1, settings);
  if (denominators.size() != num_questions ||
      std::any_of(denominators.begin(), denominators.end(), [](double d) { return !(d > 0); })) {
    throw std::invalid_argument("bootstrap_ratio: expected " + std::to_string(num_questions) +
                                " positive denominators");
  }
  IndexDraw draw(settings.seed, num_questions);
  std::vector<double> ratios(static_cast<std::size_t>(settings.num_resamples));
  for (double& ratio : ratios) {
    double numerator = 0, denominator = 0;
    for (std::size_t i = 0; i < num_questions; ++i) {
      const std::size_t question = draw();
      numerator += numerators[question];
      denominator += denominators[question];
    }
    ratio = numerator / denominator;
  }
  std::sort(ratios.begin(), ratios.end());
  const double ratio = std::accumulate(numerators.begin(), numerators.end(), 0.0) /
                       std::accumulate(denominators.begin(), denominators.end(), 0.0);
  return interval_of(ratio, ratios, settings.confidence);
}

std::vector<PairedComparison> compare_paired_columns(std::span<const double> a_NC,
                                                     std::span<const double> b_NC,
                                                     std::size_t num_columns,
                                                     const ResamplingSettings& settings) {
  if (a_NC.size() != b_NC.size()) {
    throw std::invalid_argument("compare_paired: expected as many scores of b as of a (" +
                                std::to_string(a_NC.size()) + "), found " +
                                std::to_string(b_NC.size()));
  }
  const auto num_questions = static_cast<double>(check(a_NC.size(), num_columns, settings));
  std::vector<double> differences(a_NC.size());
  for (std::size_t i = 0; i < a_NC.size(); ++i) differences[i] = a_NC[i] - b_NC[i];
  const std::vector<double> sums = column_sums(differences, num_columns);
  const auto means = resampled_means(differences, num_columns, settings);
  const std::vector<double> p_values = sign_flip_p_values(differences, num_columns, settings);
  std::vector<PairedComparison> results(num_columns);
  for (std::size_t c = 0; c < num_columns; ++c) {
    const auto num_low =
        std::count_if(means[c].begin(), means[c].end(), [](double mean) { return mean <= 0; });
    const auto num_high =
        std::count_if(means[c].begin(), means[c].end(), [](double mean) { return mean >= 0; });
    results[c].difference = interval_of(sums[c] / num_questions, means[c], settings.confidence);
    results[c].bootstrap_p_value =
        std::min(1.0, 2 * static_cast<double>(std::min(num_low, num_high) + 1) /
                          (static_cast<double>(settings.num_resamples) + 1));
    results[c].permutation_p_value = p_values[c];
  }
  return results;
}

PairedComparison compare_paired(std::span<const double> a, std::span<const double> b,
                                const ResamplingSettings& settings) {
  return compare_paired_columns(a, b, 1, settings).front();
}

}  // namespace clara
