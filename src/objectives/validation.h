// What the objectives' validations share: batches by tokens, recall of rankings.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/metrics/retrieval_metrics.h"
#include "clara/objectives/objective.h"

namespace clara {

/// Splits examples into micro-batches of at most `max_tokens` (by `num_tokens`), in order.
std::vector<MicroBatch> batches_by_tokens(
    const std::vector<Example>& examples, std::int64_t max_tokens,
    const std::function<std::int64_t(const Example&)>& num_tokens);

/// recall@1, recall@3, recall@5 and num_with_positives of the rankings added to `recall`.
void report_recall(const RetrievalMetrics& recall, std::map<std::string, double>& metrics);
/// Adds the ranking [K] (candidates in descending order of score) of one question.
void add_ranking(RetrievalMetrics& recall, const std::vector<std::int32_t>& positives,
                 const torch::Tensor& ranking_K);

}  // namespace clara
