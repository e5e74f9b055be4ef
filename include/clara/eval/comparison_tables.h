// A comparison as text: tables for a terminal, Markdown, CSV. Needs no LibTorch.
#pragma once

#include <cstddef>
#include <string>

#include "clara/eval/comparison.h"
#include "clara/metrics/answer_metrics.h"

namespace clara {

/// How the numbers were made, in sentences: unit, intervals, test, protocol.
std::string comparison_legend(const Comparison& comparison, GoldProtocol protocol);

/// Tables of at most `width` columns (80 at least) where names allow it: rows are methods, columns
/// benchmarks × settings × metrics; below a value its interval and, with a baseline, its p value.
/// What does not fit side by side stands in tables of its own: by benchmark, then by setting, then
/// by answers and retrieval. Metrics that no method has are left out.
std::string render_comparison_text(const Comparison& comparison, GoldProtocol protocol,
                                   std::size_t width);

/// The same as Markdown, a table for each benchmark and setting, and one of the differences to the
/// baseline.
std::string render_comparison_markdown(const Comparison& comparison, GoldProtocol protocol);

/// A row for each method, benchmark, setting, metric and protocol; fractions, quoted as RFC 4180
/// says. Fields that do not exist are empty.
std::string comparison_to_csv(const Comparison& comparison);

}  // namespace clara
