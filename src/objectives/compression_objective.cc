// scp and tune: the documents of a row are compressed and the generator answers from their latents.
#include "clara/objectives/compression_objective.h"

#include <algorithm>

#include "objectives/training_pass.h"
#include "objectives/validation.h"
#include <torch/torch.h>

#include "clara/latents/latent_spread.h"
#include "clara/objectives/loss_terms.h"

namespace clara {
namespace {

const std::vector<AdapterRole> kTrainedRoles = {AdapterRole::kCompressor, AdapterRole::kGenerator};

}  // namespace

CompressionObjective::CompressionObjective(ClaraModel& model, CompressionSettings settings)
    : model_(model), settings_(settings) {
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
    const LatentTokenTarget target = settings_.latent_token_loss.target == "document"
                                         ? LatentTokenTarget::kDocument
                                         : LatentTokenTarget::kSpan;
    terms.push_back(
        {"latent_token", latent_token_loss(model_, compressed.latents_NMD, documents, target,
                                           settings_.bos_id, settings_.eos_id)});
  }
  return terms;
}

std::map<std::string, double> CompressionObjective::validate(
    const std::vector<Example>& examples, std::int64_t max_tokens_per_micro_batch) {
  const torch::NoGradGuard no_grad;
  std::map<std::string, double> metrics;
  if (examples.empty()) return metrics;
  // All latents first: the gap needs other rows' documents.
  std::vector<const TokenIds*> documents;
  std::vector<std::int64_t> first_document;
  for (const Example& example : examples) {
    first_document.push_back(static_cast<std::int64_t>(documents.size()));
    for (const TokenIds& document : example.documents) documents.push_back(&document);
  }
  const auto num_documents = static_cast<std::int64_t>(documents.size());
  std::vector<torch::Tensor> latents_parts, alignment_parts;
  for (std::size_t begin = 0; begin < documents.size();) {
    std::vector<const TokenIds*> batch;
    std::int64_t tokens = 0;
    while (begin < documents.size() &&
           (batch.empty() || tokens + static_cast<std::int64_t>(documents[begin]->size()) <=
                                 max_tokens_per_micro_batch)) {
      tokens += static_cast<std::int64_t>(documents[begin]->size());
      batch.push_back(documents[begin++]);
    }
    CompressedDocuments compressed = model_.compress(model_.pack(batch));
    latents_parts.push_back(compressed.latents_NMD);
    alignment_parts.push_back(compressed.alignment_N);
  }
  const torch::Tensor latents = torch::cat(latents_parts);
  const LatentSpread spread = latent_spread(latents);
  metrics["latent_cosine"] = spread.mean_cosine;
  metrics["latent_between_variance"] = spread.between_variance;
  metrics["alignment"] = torch::cat(alignment_parts).mean().item<double>();

  // For each document of the prompt: the next one in the whole set whose text differs from all of
  // its own row's.
  const auto other_document = [&](std::size_t row, std::int64_t document) {
    const Example& example = examples[row];
    for (std::int64_t shift = static_cast<std::int64_t>(example.documents.size());
         shift < num_documents; ++shift) {
      const std::int64_t candidate = (document + shift) % num_documents;
      const TokenIds& text = *documents[static_cast<std::size_t>(candidate)];
      if (std::find(example.documents.begin(), example.documents.end(), text) ==
          example.documents.end())
        return candidate;
    }
    return document;
  };
  double own_sum = 0, other_sum = 0;
  std::int64_t answer_tokens = 0;
  std::size_t row = 0;
  for (const MicroBatch& batch : batches_by_tokens(
           examples, max_tokens_per_micro_batch, [&](const Example& e) { return num_tokens(e); })) {
    std::vector<std::int64_t> own, other;
    for (std::size_t i = 0; i < batch.size(); ++i, ++row) {
      for (std::int64_t d = 0; d < static_cast<std::int64_t>(examples[row].documents.size()); ++d) {
        own.push_back(first_document[row] + d);
        other.push_back(other_document(row, first_document[row] + d));
      }
    }
    const AnswerBatch answers = pack_answers(model_, batch);
    const auto loss_with = [&](const std::vector<std::int64_t>& which) {
      const torch::Tensor index = torch::tensor(which, torch::kInt64).to(latents.device());
      return model_.answer_loss(answers, latents.index_select(0, index)).sum.item<double>();
    };
    own_sum += loss_with(own);
    other_sum += loss_with(other);
    answer_tokens += answers.targets.size(0);
  }
  metrics["loss"] = own_sum / static_cast<double>(answer_tokens);
  metrics["latent_gap"] = (other_sum - own_sum) / static_cast<double>(answer_tokens);
  return metrics;
}

}  // namespace clara
