// The generator alone: next-token loss of the answer after a prompt of text.
#include "clara/objectives/generator_objective.h"

#include "objectives/training_pass.h"
#include "objectives/validation.h"
#include <torch/torch.h>

namespace clara {
namespace {

const std::vector<AdapterRole> kTrainedRoles = {AdapterRole::kGenerator};

}  // namespace

GeneratorObjective::GeneratorObjective(ClaraModel& model, GeneratorSettings settings)
    : model_(model), settings_(settings) {
  mark_trained(model_, kTrainedRoles, /*memory_rows=*/false);
}

std::vector<TrainedParameter> GeneratorObjective::trained_parameters() {
  return collect_trained(model_, kTrainedRoles, /*memory_rows=*/false, 1.0);
}

std::vector<TermSpec> GeneratorObjective::terms(std::int64_t /*step*/) const {
  return {{"cross_entropy", 1.0}};
}

std::vector<std::int64_t> GeneratorObjective::counts(const Example& example,
                                                     std::int64_t /*step*/) const {
  return {example.num_answer_tokens()};
}

std::int64_t GeneratorObjective::num_tokens(const Example& example) const {
  return static_cast<std::int64_t>(example.tokens.size());
}

std::vector<LossTerm> GeneratorObjective::forward(const MicroBatch& batch,
                                                  const MicroBatchContext& context) {
  const CrossEntropyResult answer =
      model_.answer_loss(pack_answers(model_, batch), /*latents=*/{},
                         training_pass(context, settings_.lora_dropout, "generator_pass",
                                       settings_.activation_checkpointing));
  return {{"cross_entropy", answer.sum}};
}

std::map<std::string, double> GeneratorObjective::validate(
    const std::vector<Example>& examples, std::int64_t max_tokens_per_micro_batch) {
  const torch::NoGradGuard no_grad;
  double loss_sum = 0;
  std::int64_t num_answer_tokens = 0;
  for (const MicroBatch& batch : batches_by_tokens(
           examples, max_tokens_per_micro_batch, [&](const Example& e) { return num_tokens(e); })) {
    const AnswerBatch answers = pack_answers(model_, batch);
    loss_sum += model_.answer_loss(answers, /*latents=*/{}).sum.item<double>();
    num_answer_tokens += answers.targets.size(0);
  }
  if (num_answer_tokens == 0) return {};
  return {{"loss", loss_sum / static_cast<double>(num_answer_tokens)}};
}

}  // namespace clara
