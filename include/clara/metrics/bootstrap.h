// How sure a mean, or the difference of two, is: percentile bootstrap and sign-flip test, exact
// from the seed. Std only.
#pragma once

#include <cstdint>
#include <span>

namespace clara {

struct ResamplingSettings {
  std::int32_t num_resamples = 10000;  ///< at least 1
  double confidence = 0.95;            ///< of the interval, between 0 and 1
  std::uint64_t seed = 17;             ///< the same seed gives the same result on every platform
};

/// A mean with its percentile interval.
struct MeanInterval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

/// Resamples questions with replacement; the interval's ends are the quantiles (linearly
/// interpolated) of the means. Throws std::invalid_argument if `values` is empty or the settings
/// are out of range.
MeanInterval bootstrap_mean(std::span<const double> values,
                            const ResamplingSettings& settings = {});

/// Mean of a − b over the same questions.
struct PairedComparison {
  MeanInterval difference;  ///< bootstrap over questions
  double bootstrap_p_value =
      1;  ///< two-sided: how often the resampled difference is on the other side of zero, doubled
  double permutation_p_value =
      1;  ///< two-sided sign-flip test of "a and b are exchangeable question by question"
};

/// `a` and `b` hold the scores of two systems for the same questions in the same order. p values
/// count the observed outcome among the resamples, so they are never 0. Throws
/// std::invalid_argument if the sizes differ, or as bootstrap_mean.
PairedComparison compare_paired(std::span<const double> a, std::span<const double> b,
                                const ResamplingSettings& settings = {});

}  // namespace clara
