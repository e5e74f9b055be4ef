// How sure a mean, or the difference of two, is: percentile bootstrap and sign-flip test, exact
// from the seed. Std only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

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

/// Several scores of the same questions: `values_NC` holds a question's C = `num_columns` scores
/// after another. One draw of the questions serves all columns; each column's interval is what
/// bootstrap_mean gives for it alone. Throws as bootstrap_mean, and where the size is no multiple
/// of num_columns.
std::vector<MeanInterval> bootstrap_means(std::span<const double> values_NC,
                                          std::size_t num_columns,
                                          const ResamplingSettings& settings = {});

/// Σ numerators / Σ denominators, for example a loss in nats a token of questions with answers of
/// different lengths, and the interval of that ratio: a resample keeps a question's two together.
/// Throws as bootstrap_mean, and where the sizes differ or a denominator is not positive.
MeanInterval bootstrap_ratio(std::span<const double> numerators,
                             std::span<const double> denominators,
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

/// As compare_paired for each of several scores of the same questions, laid out as for
/// bootstrap_means. Throws as these.
std::vector<PairedComparison> compare_paired_columns(std::span<const double> a_NC,
                                                     std::span<const double> b_NC,
                                                     std::size_t num_columns,
                                                     const ResamplingSettings& settings = {});

}  // namespace clara
