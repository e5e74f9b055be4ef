// Methods side by side: means, bootstrap intervals and paired tests on benchmarks and settings.
// Needs no LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "clara/eval/method_results.h"
#include "clara/metrics/bootstrap.h"

namespace clara {

/// What a comparison reports, in this order: three scores against the first gold answer, the same
/// against the best of all, recall.
struct ReportMetric {
  const char* name;      ///< "exact_match", "f1", "cover_exact_match", "recall@1", …
  const char* title;     ///< "EM", "F1", "CEM", "R@1", …
  const char* protocol;  ///< "first", "best"; empty for recall
};
inline constexpr std::array<ReportMetric, 9> kReportMetrics = {{
    {"exact_match", "EM", "first"},
    {"f1", "F1", "first"},
    {"cover_exact_match", "CEM", "first"},
    {"exact_match", "EM", "best"},
    {"f1", "F1", "best"},
    {"cover_exact_match", "CEM", "best"},
    {"recall@1", "R@1", ""},
    {"recall@3", "R@3", ""},
    {"recall@5", "R@5", ""},
}};

/// A method's metric on a benchmark and setting.
struct MetricEstimate {
  MeanInterval value;              ///< in [0, 1]
  bool has_interval = false;       ///< false without predictions.jsonl: the mean alone
  std::int64_t num_questions = 0;  ///< in the mean; 0: the metric does not exist here
  /// Difference to the baseline, over the questions that both answered; none for the baseline.
  std::optional<PairedComparison> against_baseline;
  std::int64_t num_paired = 0;
};

using MetricEstimates = std::array<MetricEstimate, kReportMetrics.size()>;

/// A benchmark under a setting.
struct ComparisonBlock {
  std::string benchmark;
  EvalSetting setting = EvalSetting::kNormal;
  std::vector<const MethodResult*> results;  ///< by method; null: not evaluated here
  std::vector<MetricEstimates> estimates;    ///< by method
};

struct ComparisonSettings {
  std::string baseline;  ///< a method's name; empty: no test
  ResamplingSettings resampling;
};

struct Comparison {
  MethodResults source;
  ComparisonSettings settings;
  std::vector<std::string> methods;     ///< in the order of the results
  std::vector<ComparisonBlock> blocks;  ///< benchmarks in the order of the results, Normal first
  std::vector<std::string> notes;       ///< what a reader of the numbers must know

  Comparison() = default;
  Comparison(const Comparison&) = delete;  // blocks point into source
  Comparison& operator=(const Comparison&) = delete;
  Comparison(Comparison&&) = default;
  Comparison& operator=(Comparison&&) = default;
};

/// Computes all estimates. The unit that is resampled is the question. Where the baseline and a
/// method answered different questions, they are compared on the common ones, and a note says how
/// many these are. Throws ConfigError for a baseline that is no method; DataError where they have
/// no question in common, or where an id stands for different questions. `progress` (optional) is
/// called with the number of results that are done.
Comparison compare_methods(MethodResults results, const ComparisonSettings& settings,
                           const std::function<void(std::int64_t)>& progress = {});

}  // namespace clara
