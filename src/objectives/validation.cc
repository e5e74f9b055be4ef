// Shared pieces of validation.
#include "objectives/validation.h"

#include "common/token_batches.h"
#include <torch/torch.h>

namespace clara {

std::vector<MicroBatch> batches_by_tokens(
    const std::vector<Example>& examples, std::int64_t max_tokens,
    const std::function<std::int64_t(const Example&)>& num_tokens) {
  std::vector<std::int64_t> tokens;
  for (const Example& example : examples) tokens.push_back(num_tokens(example));
  std::vector<MicroBatch> batches;
  for (const ItemRange& range : token_batches(tokens, max_tokens)) {
    batches.emplace_back();
    for (std::size_t n = range.begin; n < range.end; ++n) batches.back().push_back(&examples[n]);
  }
  return batches;
}

void add_ranking(RetrievalMetrics& recall, const std::vector<std::int32_t>& positives,
                 const torch::Tensor& ranking_K) {
  const torch::Tensor ranking = ranking_K.to(torch::kCPU, torch::kInt32).contiguous();
  const auto* begin = ranking.const_data_ptr<std::int32_t>();
  recall.add({begin, static_cast<std::size_t>(ranking.numel())}, positives);
}

void report_recall(const RetrievalMetrics& recall, std::map<std::string, double>& metrics) {
  const RetrievalSummary summary = recall.summary();
  metrics["num_with_positives"] = static_cast<double>(summary.num_questions);
  if (summary.num_questions == 0) return;
  for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
    metrics["recall@" + std::to_string(RetrievalSummary::kCutoffs[i])] = summary.recall[i];
  }
}

}  // namespace clara
