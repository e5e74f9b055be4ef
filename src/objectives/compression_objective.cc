// scp and tune: the documents of a row are compressed and the generator answers from their latents.
#include "clara/objectives/compression_objective.h"

#include <algorithm>
#include <string>
#include <utility>

#include "objectives/training_pass.h"
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/latents/latent_gap.h"
#include "clara/latents/latent_spread.h"

namespace clara {
namespace {

const std::vector<AdapterRole> kTrainedRoles = {AdapterRole::kCompressor, AdapterRole::kGenerator};

}  // namespace

CompressionObjective::CompressionObjective(ClaraModel& model, CompressionSettings settings)
    : model_(model),
      settings_(std::move(settings)),
      latent_token_targets_{settings_.latent_token_loss.target == "document"
                                ? LatentTokenTarget::kDocument
                                : LatentTokenTarget::kSpan,
                            settings_.bos_id, settings_.eos_id, settings_.token_weights} {
  const std::vector<float>& weights = settings_.token_weights;
  const std::int64_t vocab_rows = model_.base().config().vocab_rows;
  if (!weights.empty() &&
      (static_cast<std::int64_t>(weights.size()) != vocab_rows ||
       !std::all_of(weights.begin(), weights.end(), [](float weight) { return weight > 0; }))) {
    throw ConfigError("token_weights: expected a number above 0 for each of the base's " +
                      std::to_string(vocab_rows) + " tokens, found " +
                      std::to_string(weights.size()) + " numbers, or one that is not above 0");
  }
  mark_trained(model_, kTrainedRoles, /*memory_rows=*/true);
}

std::vector<TrainedParameter> CompressionObjective::trained_parameters() {
  return collect_trained(model_, kTrainedRoles, /*memory_rows=*/true,
                         settings_.memory_learning_rate_ratio);
}

bool CompressionObjective::latent_token_loss_active(std::int64_t step) const {
  return settings_.latent_token_loss.weight > 0 && step < settings_.latent_token_loss.steps;
}

bool CompressionObjective::cross_entropy_active(std::int64_t step) const {
  return settings_.latent_token_loss.weight <= 0 || step >= settings_.latent_token_loss.only_steps;
}

std::vector<TermSpec> CompressionObjective::terms(std::int64_t step) const {
  std::vector<TermSpec> terms;
  if (cross_entropy_active(step)) terms.push_back({"cross_entropy", 1.0});
  terms.push_back({"alignment", settings_.alignment_weight});
  if (latent_token_loss_active(step))
    terms.push_back({"latent_token", settings_.latent_token_loss.weight});
  return terms;
}

std::vector<std::int64_t> CompressionObjective::counts(const Example& example,
                                                       std::int64_t step) const {
  const auto documents = static_cast<std::int64_t>(example.documents.size());
  std::vector<std::int64_t> counts;
  if (cross_entropy_active(step)) counts.push_back(example.num_answer_tokens());
  counts.push_back(documents);
  if (latent_token_loss_active(step)) counts.push_back(documents);
  return counts;
}

std::int64_t CompressionObjective::num_tokens(const Example& example) const {
  auto tokens = static_cast<std::int64_t>(example.tokens.size());
  for (const TokenIds& document : example.documents)
    tokens += static_cast<std::int64_t>(document.size());
  return tokens;
}

std::vector<LossTerm> CompressionObjective::forward(const MicroBatch& batch,
                                                    const MicroBatchContext& context) {
  const std::vector<const TokenIds*> documents = all_documents(batch);
  const CompressedDocuments compressed = model_.compress(
      model_.pack(documents), training_pass(context, settings_.lora_dropout, "compressor_pass",
                                            settings_.activation_checkpointing));
  std::vector<LossTerm> terms;
  if (cross_entropy_active(context.step)) {
    const CrossEntropyResult answer =
        model_.answer_loss(pack_answers(model_, batch), compressed.latents_NMD,
                           training_pass(context, settings_.lora_dropout, "generator_pass",
                                         settings_.activation_checkpointing));
    terms.push_back({"cross_entropy", answer.sum});
  }
  terms.push_back({"alignment", compressed.alignment_N.sum()});
  if (latent_token_loss_active(context.step)) {
    terms.push_back({"latent_token", latent_token_loss(model_, compressed.latents_NMD, documents,
                                                       latent_token_targets_)});
  }
  return terms;
}

std::map<std::string, double> CompressionObjective::validate(
    const std::vector<Example>& examples, std::int64_t max_tokens_per_micro_batch) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, double> metrics;
  if (examples.empty()) return metrics;
  const LatentGap gap = measure_latent_gap(model_, examples, max_tokens_per_micro_batch);
  const LatentSpread spread = latent_spread(gap.latents_NMD);
  metrics["latent_cosine"] = spread.mean_cosine;
  metrics["latent_between_variance"] = spread.between_variance;
  metrics["alignment"] = gap.alignment_N.mean().item<double>();
  double own = 0, other = 0, num_tokens = 0;
  for (const LatentGapRow& row : gap.rows) {
    own += row.own_loss;
    other += row.other_loss;
    num_tokens += static_cast<double>(row.num_answer_tokens);
  }
  metrics["loss"] = own / num_tokens;
  metrics["latent_gap"] = (other - own) / num_tokens;
  return metrics;
}

}  // namespace clara
