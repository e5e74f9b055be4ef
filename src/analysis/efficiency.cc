// The pieces of answering a question, each timed by itself.
#include "clara/analysis/efficiency.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <limits>

#include "common/device_copy.h"
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/eval/generate.h"
#include "clara/eval/opened_prompts.h"
#include "clara/latents/document_latents.h"
#include "clara/model/selection.h"

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;

/// The least seconds of `repetitions` calls after one that warms up. `run` returns a tensor whose
/// value ends the work.
double least_seconds(std::int32_t repetitions, const std::function<torch::Tensor()>& run) {
  run();
  double least = std::numeric_limits<double>::infinity();
  for (std::int32_t i = 0; i < repetitions; ++i) {
    const Clock::time_point start = Clock::now();
    const torch::Tensor result = run();
    if (result.defined() && result.is_cuda()) read_on_host(result);
    least = std::min(least, std::chrono::duration<double>(Clock::now() - start).count());
  }
  return least;
}

std::vector<const TokenIds*> pointers_to(const std::vector<TokenIds>& sequences) {
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& sequence : sequences) pointers.push_back(&sequence);
  return pointers;
}

double mean_length(const std::vector<TokenIds>& sequences) {
  double sum = 0;
  for (const TokenIds& sequence : sequences) sum += static_cast<double>(sequence.size());
  return sum / static_cast<double>(sequences.size());
}

/// Seconds to the first token, and for each further one, of a question.
struct AnswerTimes {
  double prefill = 0;
  double decode = 0;
};

AnswerTimes time_answers(const OpenedModel& opened, const std::vector<TokenIds>& prompts,
                         const torch::Tensor& latents, const EfficiencySettings& settings) {
  const auto seconds = [&](std::int64_t num_tokens) {
    GenerationSettings generation;
    generation.max_new_tokens = num_tokens;
    generation.max_batch_tokens = settings.max_batch_tokens;
    generation.plain_base = !latents.defined();
    return least_seconds(settings.repetitions, [&] {
      generate_answers(*opened.model, prompts, latents, /*end_ids=*/{}, generation);
      return torch::Tensor();
    });
  };
  const auto num = static_cast<double>(prompts.size());
  const double first = seconds(1);
  const double all = seconds(settings.max_new_tokens);
  return {first / num,
          std::max(all - first, 0.0) / (num * static_cast<double>(settings.max_new_tokens - 1))};
}

}  // namespace

Efficiency measure_efficiency(const OpenedModel& opened, const std::vector<QaRecord>& questions,
                              const EfficiencySettings& settings) {
  if (questions.empty()) throw DataError("efficiency: expected questions, found none");
  if (settings.num_selected < 1) throw ConfigError("num_selected: expected at least 1");
  if (settings.max_new_tokens < 2) throw ConfigError("max_new_tokens: expected at least 2");
  if (settings.repetitions < 1) throw ConfigError("repetitions: expected at least 1");
  const torch::NoGradGuard no_grad;
  const ClaraModel& model = *opened.model;
  const PromptBuilder prompts = make_prompt_builder(opened, settings.num_selected, 0);
  std::vector<TokenIds> documents, asked, latent_prompts, text_prompts;
  std::vector<std::int64_t> num_candidates, selected_places;
  for (const QaRecord& record : questions) {
    if (record.documents.empty())
      throw DataError(record.place.str() + ": docs: expected at least one document, found none");
    const auto first = static_cast<std::int64_t>(documents.size());
    for (const std::string& document : record.documents)
      documents.push_back(prompts.encoder_ids(document));
    num_candidates.push_back(static_cast<std::int64_t>(record.documents.size()));
    const auto count = std::min<std::int64_t>(settings.num_selected, num_candidates.back());
    for (std::int64_t k = 0; k < count; ++k) selected_places.push_back(first + k);
    asked.push_back(prompts.encoder_ids(record.question));
    latent_prompts.push_back(
        prompts.answer_prompt(record.question, static_cast<std::int32_t>(count)));
    text_prompts.push_back(prompts.text_answer_prompt(
        record.question, {record.documents.begin(), record.documents.begin() + count}));
  }

  Efficiency result;
  result.compression_rate = opened.description.compression_rate;
  result.num_memory_tokens = opened.description.num_memory_tokens;
  result.num_documents = static_cast<std::int64_t>(documents.size());
  result.num_questions = static_cast<std::int64_t>(questions.size());
  result.latent_bytes = model.num_memory() * model.base().config().hidden_size *
                        static_cast<std::int64_t>(torch::elementSize(model.base().dtype()));
  const auto num_documents = static_cast<double>(documents.size());
  const auto num_questions = static_cast<double>(questions.size());

  const std::vector<const TokenIds*> document_pointers = pointers_to(documents);
  const std::vector<const TokenIds*> question_pointers = pointers_to(asked);
  torch::Tensor latents, vectors;
  result.compress_seconds =
      least_seconds(settings.repetitions,
                    [&] {
                      return latents =
                                 encode_documents(model, AdapterRole::kCompressor,
                                                  document_pointers, settings.max_batch_tokens);
                    }) /
      num_documents;
  result.question_seconds =
      least_seconds(settings.repetitions,
                    [&] {
                      return vectors =
                                 encode_documents(model, AdapterRole::kQueryReasoner,
                                                  question_pointers, settings.max_batch_tokens)
                                     .flatten(1);
                    }) /
      num_questions;
  const torch::Tensor flat = latents.flatten(1);
  result.rank_seconds = least_seconds(settings.repetitions,
                                      [&] {
                                        torch::Tensor order;
                                        std::int64_t first = 0;
                                        for (std::size_t n = 0; n < questions.size(); ++n) {
                                          const torch::Tensor scores = cosine_scores(
                                              vectors[static_cast<std::int64_t>(n)],
                                              flat.narrow(0, first, num_candidates[n]));
                                          order = topk_indices(scores, settings.num_selected);
                                          first += num_candidates[n];
                                        }
                                        return order;
                                      }) /
                        num_questions;

  const torch::Tensor selected =
      latents.index_select(0, to_device(selected_places, latents.device()));
  const AnswerTimes from_latents = time_answers(opened, latent_prompts, selected, settings);
  const AnswerTimes from_text = time_answers(opened, text_prompts, {}, settings);
  result.prompt_tokens = mean_length(latent_prompts);
  result.text_prompt_tokens = mean_length(text_prompts);
  result.prefill_seconds = from_latents.prefill;
  result.decode_seconds = from_latents.decode;
  result.text_prefill_seconds = from_text.prefill;
  result.text_decode_seconds = from_text.decode;
  return result;
}

}  // namespace clara
