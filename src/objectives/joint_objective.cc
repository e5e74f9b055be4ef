// joint: scores → straight-through selection → the answer's loss, which alone teaches both
// adapters.
#include "clara/objectives/joint_objective.h"

#include "objectives/training_pass.h"
#include "objectives/validation.h"
#include <ATen/record_function.h>
#include <torch/torch.h>

namespace clara {
namespace {

const std::vector<AdapterRole> kTrainedRoles = {AdapterRole::kQueryReasoner,
                                                AdapterRole::kGenerator};

}  // namespace

JointObjective::JointObjective(ClaraModel& model, DocumentLatents& documents,
                               JointSettings settings)
    : model_(model), documents_(documents), settings_(settings) {
  mark_trained(model_, kTrainedRoles, /*memory_rows=*/false);
}

std::vector<TrainedParameter> JointObjective::trained_parameters() {
  return collect_trained(model_, kTrainedRoles, /*memory_rows=*/false, 1.0);
}

std::vector<TermSpec> JointObjective::terms(std::int64_t /*step*/) const {
  return {{"cross_entropy", 1.0}};
}

std::vector<std::int64_t> JointObjective::counts(const Example& example,
                                                 std::int64_t /*step*/) const {
  return {example.num_answer_tokens()};
}

std::int64_t JointObjective::num_tokens(const Example& example) const {
  return static_cast<std::int64_t>(example.tokens.size() + example.question.size());
}

std::vector<LossTerm> JointObjective::forward(const MicroBatch& batch,
                                              const MicroBatchContext& context) {
  const torch::Tensor latents = documents_.fetch(all_documents(batch));  // [ΣK, M, D]
  const torch::Tensor questions =
      model_.encode_questions(model_.pack(all_questions(batch)),
                              training_pass(context, settings_.lora_dropout, "query_pass",
                                            settings_.activation_checkpointing));
  const torch::Tensor flat = latents.flatten(1).to(torch::kFloat32);
  std::vector<torch::Tensor> selected;  // [S, M·D] a row
  std::int64_t begin = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    RECORD_USER_SCOPE("clara::select");
    const auto num_candidates = static_cast<std::int64_t>(batch[i]->documents.size());
    const torch::Tensor candidates = flat.narrow(0, begin, num_candidates);
    begin += num_candidates;
    const torch::Tensor scores = cosine_scores(questions[static_cast<std::int64_t>(i)], candidates);
    const StraightThroughSelection selection = straight_through_topk(
        scores, settings_.num_selected, settings_.temperature, settings_.topk_mask);
    selected.push_back(torch::mm(selection.weights_SK, candidates));
  }
  const torch::Tensor slots = torch::cat(selected).view({-1, model_.base().config().hidden_size});
  const CrossEntropyResult answer =
      model_.answer_loss(pack_answers(model_, batch), slots,
                         training_pass(context, settings_.lora_dropout, "generator_pass",
                                       settings_.activation_checkpointing));
  return {{"cross_entropy", answer.sum}};
}

std::map<std::string, double> JointObjective::validate(const std::vector<Example>& examples,
                                                       std::int64_t max_tokens_per_micro_batch) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, double> metrics;
  RetrievalMetrics recall;
  double loss_sum = 0;
  std::int64_t answer_tokens = 0;
  for (const MicroBatch& batch : batches_by_tokens(
           examples, max_tokens_per_micro_batch, [&](const Example& e) { return num_tokens(e); })) {
    const torch::Tensor latents = documents_.fetch(all_documents(batch));
    const torch::Tensor questions = model_.encode_questions(model_.pack(all_questions(batch)));
    std::vector<torch::Tensor> selected;
    std::int64_t begin = 0;
    for (std::size_t i = 0; i < batch.size(); ++i) {
      const auto num_candidates = static_cast<std::int64_t>(batch[i]->documents.size());
      const torch::Tensor candidates = latents.narrow(0, begin, num_candidates);
      begin += num_candidates;
      const torch::Tensor scores =
          cosine_scores(questions[static_cast<std::int64_t>(i)], candidates.flatten(1));
      add_ranking(recall, batch[i]->positives, topk_indices(scores, num_candidates));
      selected.push_back(candidates.index_select(0, topk_indices(scores, settings_.num_selected)));
    }
    const AnswerBatch answers = pack_answers(model_, batch);
    loss_sum += model_.answer_loss(answers, torch::cat(selected)).sum.item<double>();
    answer_tokens += answers.targets.size(0);
  }
  if (answer_tokens > 0) metrics["loss"] = loss_sum / static_cast<double>(answer_tokens);
  report_recall(recall, metrics);
  return metrics;
}

}  // namespace clara
