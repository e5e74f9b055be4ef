// Shared pieces of validation.
#include "objectives/validation.h"

#include <torch/torch.h>

namespace clara {

std::vector<MicroBatch> batches_by_tokens(
    const std::vector<Example>& examples, std::int64_t max_tokens,
    const std::function<std::int64_t(const Example&)>& num_tokens) {
  std::vector<MicroBatch> batches;
  std::int64_t tokens = 0;
  for (const Example& example : examples) {
    const std::int64_t cost = num_tokens(example);
    if (batches.empty() || tokens + cost > max_tokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(&example);
    tokens += cost;
  }
  return batches;
}

LatentSpread latent_spread(const torch::Tensor& latents_NMD) {
  const torch::Tensor vectors = latents_NMD.flatten(1).to(torch::kFloat32);
  const std::int64_t num = vectors.size(0);
  if (num < 2) return {1.0, 0.0};
  const torch::Tensor unit = torch::nn::functional::normalize(
      vectors, torch::nn::functional::NormalizeFuncOptions().dim(1));
  // The sum over all pairs is |Σ u|² − N.
  const double pair_sum = unit.sum(0).square().sum().item<double>() - static_cast<double>(num);
  const torch::Tensor memory = latents_NMD.to(torch::kFloat32);
  const double total =
      (memory - memory.mean(torch::IntArrayRef{0, 1}, true)).square().mean().item<double>();
  const double between = (memory - memory.mean(0, true)).square().mean().item<double>();
  return {pair_sum / static_cast<double>(num * (num - 1)), total > 0 ? between / total : 0.0};
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
