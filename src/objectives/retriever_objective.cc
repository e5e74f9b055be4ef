// The supervised retriever: labels instead of the answer's loss.
#include "clara/objectives/retriever_objective.h"

#include "common/device_copy.h"
#include "objectives/training_pass.h"
#include "objectives/validation.h"
#include <torch/torch.h>

#include "clara/model/selection.h"

namespace clara {
namespace {

const std::vector<AdapterRole> kTrainedRoles = {AdapterRole::kQueryReasoner};

torch::Tensor positive_index(const Example& example, torch::Device device) {
  const std::vector<std::int64_t> positives(example.positives.begin(), example.positives.end());
  return to_device(positives, device);
}

}  // namespace

RetrieverObjective::RetrieverObjective(ClaraModel& model, DocumentLatents& documents,
                                       RetrieverSettings settings)
    : model_(model), documents_(documents), settings_(settings) {
  mark_trained(model_, kTrainedRoles, /*memory_rows=*/false);
}

std::vector<TrainedParameter> RetrieverObjective::trained_parameters() {
  return collect_trained(model_, kTrainedRoles, /*memory_rows=*/false, 1.0);
}

std::vector<TermSpec> RetrieverObjective::terms(std::int64_t /*step*/) const {
  return {{"retrieval", 1.0}};
}

std::vector<std::int64_t> RetrieverObjective::counts(const Example& example,
                                                     std::int64_t /*step*/) const {
  return {example.positives.empty() ? 0 : 1};
}

std::int64_t RetrieverObjective::num_tokens(const Example& example) const {
  return static_cast<std::int64_t>(example.question.size());
}

std::vector<LossTerm> RetrieverObjective::forward(const MicroBatch& batch,
                                                  const MicroBatchContext& context) {
  const torch::Tensor latents = documents_.fetch(all_documents(batch)).flatten(1);
  const torch::Tensor questions =
      model_.encode_questions(model_.pack(all_questions(batch)),
                              training_pass(context, settings_.lora_dropout, "query_pass",
                                            settings_.activation_checkpointing));
  // Rows without positives take part with 0, so that the sum always has a gradient.
  torch::Tensor sum = questions.to(torch::kFloat32).sum() * 0;
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto num_candidates = static_cast<std::int64_t>(batch[i]->documents.size());
    if (!batch[i]->positives.empty()) {
      const torch::Tensor scores = cosine_scores(questions[static_cast<std::int64_t>(i)],
                                                 latents.narrow(0, begin, num_candidates));
      sum = sum + retrieval_loss(scores, positive_index(*batch[i], scores.device()),
                                 settings_.temperature);
    }
    begin += num_candidates;
  }
  return {{"retrieval", sum}};
}

std::map<std::string, double> RetrieverObjective::validate(
    const std::vector<Example>& examples, std::int64_t max_tokens_per_micro_batch) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, double> metrics;
  RetrievalMetrics recall;
  double loss_sum = 0;
  std::int64_t num_labelled = 0;
  for (const MicroBatch& batch : batches_by_tokens(
           examples, max_tokens_per_micro_batch, [&](const Example& e) { return num_tokens(e); })) {
    const torch::Tensor latents = documents_.fetch(all_documents(batch)).flatten(1);
    const torch::Tensor questions = model_.encode_questions(model_.pack(all_questions(batch)));
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto num_candidates = static_cast<std::int64_t>(batch[i]->documents.size());
      const torch::Tensor scores = cosine_scores(questions[static_cast<std::int64_t>(i)],
                                                 latents.narrow(0, begin, num_candidates));
      begin += num_candidates;
      if (batch[i]->positives.empty()) continue;
      add_ranking(recall, batch[i]->positives, topk_indices(scores, num_candidates));
      loss_sum +=
          retrieval_loss(scores, positive_index(*batch[i], scores.device()), settings_.temperature)
              .item<double>();
      ++num_labelled;
    }
  }
  if (num_labelled > 0) metrics["loss"] = loss_sum / static_cast<double>(num_labelled);
  report_recall(recall, metrics);
  return metrics;
}

}  // namespace clara
