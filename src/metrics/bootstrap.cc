// Percentile bootstrap and sign-flip permutation test.
#include "clara/metrics/bootstrap.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
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

void check(std::size_t num_values, const ResamplingSettings& settings) {
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
}

double mean_of(std::span<const double> values) {
  double sum = 0;
  for (const double value : values) sum += value;
  return sum / static_cast<double>(values.size());
}

/// Means of resamples, ascending.
std::vector<double> resampled_means(std::span<const double> values,
                                    const ResamplingSettings& settings) {
  IndexDraw draw(settings.seed, values.size());
  std::vector<double> means(static_cast<std::size_t>(settings.num_resamples));
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += values[draw()];
    mean = sum / static_cast<double>(values.size());
  }
  std::sort(means.begin(), means.end());
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

double sign_flip_p_value(const std::vector<double>& differences,
                         const ResamplingSettings& settings) {
  double sum = 0;
  double scale = 0;
  for (const double difference : differences) {
    sum += difference;
    scale += std::abs(difference);
  }
  // Sums of the same numbers in another arrangement differ by rounding: they must still count as
  // equal.
  const double threshold = std::abs(sum) - 1e-12 * scale;
  std::mt19937_64 engine(settings.seed ^ 0x5167F11BULL);
  std::int64_t num_extreme = 0;
  for (std::int32_t resample = 0; resample < settings.num_resamples; ++resample) {
    double flipped = 0;
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < differences.size(); ++i) {
      if (i % 64 == 0) bits = engine();
      flipped += (bits & 1) != 0 ? differences[i] : -differences[i];
      bits >>= 1;
    }
    if (std::abs(flipped) >= threshold) ++num_extreme;
  }
  return static_cast<double>(num_extreme + 1) / (static_cast<double>(settings.num_resamples) + 1);
}

}  // namespace

MeanInterval bootstrap_mean(std::span<const double> values, const ResamplingSettings& settings) {
  check(values.size(), settings);
  return interval_of(mean_of(values), resampled_means(values, settings), settings.confidence);
}

PairedComparison compare_paired(std::span<const double> a, std::span<const double> b,
                                const ResamplingSettings& settings) {
  if (a.size() != b.size()) {
    throw std::invalid_argument("compare_paired: expected as many scores of b as of a (" +
                                std::to_string(a.size()) + "), found " + std::to_string(b.size()));
  }
  check(a.size(), settings);
  std::vector<double> differences(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) differences[i] = a[i] - b[i];
  const std::vector<double> means = resampled_means(differences, settings);
  const auto num_low =
      std::count_if(means.begin(), means.end(), [](double mean) { return mean <= 0; });
  const auto num_high =
      std::count_if(means.begin(), means.end(), [](double mean) { return mean >= 0; });
  PairedComparison result;
  result.difference = interval_of(mean_of(differences), means, settings.confidence);
  result.bootstrap_p_value =
      std::min(1.0, 2 * static_cast<double>(std::min(num_low, num_high) + 1) /
                        (static_cast<double>(settings.num_resamples) + 1));
  result.permutation_p_value = sign_flip_p_value(differences, settings);
  return result;
}

}  // namespace clara
