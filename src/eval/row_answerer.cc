// Selection, prompts that fit, latents in prompt order.
#include "clara/eval/row_answerer.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <utility>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/eval/generate.h"
#include "clara/eval/opened_prompts.h"
#include "clara/eval/question_reader.h"
#include "clara/latents/latent_store.h"
#include "clara/model/selection.h"

namespace clara {
namespace {

// What the latents of documents seen so far may take in memory before they are forgotten.
constexpr std::int64_t kMaxStoredBytes = std::int64_t{2} << 30;

/// Adds the time of a scope to a total.
class ScopeTimer {
 public:
  explicit ScopeTimer(double& total) : total_(total), start_(std::chrono::steady_clock::now()) {}
  ScopeTimer(const ScopeTimer&) = delete;
  ScopeTimer& operator=(const ScopeTimer&) = delete;
  ~ScopeTimer() {
    total_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  }

 private:
  double& total_;
  std::chrono::steady_clock::time_point start_;
};

}  // namespace

RowAnswerer::RowAnswerer(const OpenedModel& opened, const EvalSettings& settings)
    : opened_(opened),
      settings_(settings),
      prompts_(make_prompt_builder(opened, settings.num_selected, settings.seed)),
      text_ranker_(open_text_ranker(settings)) {
  if (settings.num_selected < 1) throw ConfigError("num_selected: expected at least 1");
  if (settings.max_new_tokens < 1) throw ConfigError("max_new_tokens: expected at least 1");
  max_prompt_and_answer_ = opened.model->base().config().longest_sequence();
  if (settings.max_sequence_tokens > 0) {
    max_prompt_and_answer_ =
        std::min<std::int64_t>(max_prompt_and_answer_, settings.max_sequence_tokens);
  }
}

std::vector<RowAnswer> RowAnswerer::answer(const std::vector<AnswerRequest>& requests) {
  const torch::NoGradGuard no_grad;
  std::vector<RowAnswer> answers(requests.size());
  const bool uses_documents = settings_.context != AnswerContext::kNone;
  const bool uses_latents = settings_.context == AnswerContext::kLatents;
  torch::Tensor all_latents;  // of all candidates; undefined where they are not needed
  if (uses_documents && settings_.select == DocumentSelector::kQueryReasoner) {
    all_latents = rank_by_query_reasoner(requests, answers);
  } else if (uses_documents) {
    for (std::size_t n = 0; n < requests.size(); ++n) rank_by_text(requests[n], answers[n]);
  }

  std::vector<TokenIds> prompts, selected_ids;
  std::vector<std::int64_t> selected_places;  // in all_latents
  std::int64_t first_candidate = 0;
  for (std::size_t n = 0; n < requests.size(); ++n) {
    std::vector<std::int32_t>& selected = answers[n].selected;
    selected = answers[n].ranking;
    const auto num_selected = static_cast<std::size_t>(settings_.num_selected);
    if (settings_.select != DocumentSelector::kAll && selected.size() > num_selected) {
      selected.resize(num_selected);
    }
    Prompt prompt = fit_prompt(requests[n], selected);
    selected.resize(prompt.num_documents);
    prompts.push_back(std::move(prompt.ids));
    if (uses_latents && all_latents.defined()) {
      for (const std::int32_t k : selected) selected_places.push_back(first_candidate + k);
    } else if (uses_latents) {
      for (TokenIds& ids : document_ids(requests[n], selected)) {
        selected_ids.push_back(std::move(ids));
      }
    }
    first_candidate += static_cast<std::int64_t>(requests[n].candidates.documents.size());
  }

  torch::Tensor latents;
  if (!selected_places.empty()) {
    latents = all_latents.index_select(
        0, torch::tensor(selected_places, torch::kInt64).to(all_latents.device()));
  } else if (!selected_ids.empty()) {
    latents = fetch_latents(selected_ids);
  }
  std::vector<TokenIds> generated;
  {
    const ScopeTimer timer(times_.generate_seconds);
    GenerationSettings generation;
    generation.max_new_tokens = settings_.max_new_tokens;
    generation.max_batch_tokens = settings_.max_batch_tokens;
    generation.plain_base =
        !uses_latents && to_string(settings_.context) != opened_.description.context;
    generated =
        generate_answers(*opened_.model, prompts, latents, opened_.text.end_ids, generation);
  }
  for (std::size_t n = 0; n < requests.size(); ++n) {
    counts_.num_generated_tokens += static_cast<std::int64_t>(generated[n].size());
    const std::string text = opened_.text.tokenizer->decode(generated[n], /*skip_special=*/true);
    answers[n].text = strip_whitespace(text);
  }
  return answers;
}

EvalCounts RowAnswerer::counts() const {
  EvalCounts counts = counts_;
  counts.num_encoded_documents = num_encoded_before_ + (latents_ ? latents_->num_encoded() : 0);
  return counts;
}

RowAnswerer::Prompt RowAnswerer::fit_prompt(const AnswerRequest& request,
                                            const std::vector<std::int32_t>& selected) {
  const auto prompt_of = [&](std::size_t count) {
    if (settings_.context == AnswerContext::kLatents) {
      return prompts_.answer_prompt(request.question, static_cast<std::int32_t>(count));
    }
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < count; ++i) {
      texts.push_back(request.candidates.documents[static_cast<std::size_t>(selected[i])]);
    }
    return prompts_.text_answer_prompt(request.question, texts);
  };
  const auto fits = [&](const TokenIds& ids) {
    return static_cast<std::int64_t>(ids.size()) + settings_.max_new_tokens <=
           max_prompt_and_answer_;
  };
  TokenIds whole = prompt_of(selected.size());
  if (fits(whole)) return {std::move(whole), selected.size()};
  Prompt best{prompt_of(0), 0};
  if (!fits(best.ids)) {
    throw DataError(request.place + ": expected a question whose prompt and answer fit " +
                    std::to_string(max_prompt_and_answer_) + " tokens, found " +
                    std::to_string(best.ids.size()) + " of the prompt without documents and " +
                    std::to_string(settings_.max_new_tokens) +
                    " of the answer; lower max_new_tokens or shorten the question");
  }
  ++counts_.num_shortened_prompts;
  std::size_t too_many = selected.size();
  while (best.num_documents + 1 < too_many) {
    const std::size_t middle = (best.num_documents + too_many) / 2;
    TokenIds ids = prompt_of(middle);
    if (fits(ids)) {
      best = {std::move(ids), middle};
    } else {
      too_many = middle;
    }
  }
  return best;
}

std::vector<TokenIds> RowAnswerer::document_ids(const AnswerRequest& request,
                                                const std::vector<std::int32_t>& wanted) {
  std::vector<TokenIds> documents;
  for (const std::int32_t k : wanted) {
    bool was_cut = false;
    const std::string& text = request.candidates.documents[static_cast<std::size_t>(k)];
    documents.push_back(prompts_.encoder_ids(text, &was_cut));
    if (was_cut) ++counts_.num_cut_documents;
  }
  return documents;
}

torch::Tensor RowAnswerer::fetch_latents(const std::vector<TokenIds>& documents) {
  const ScopeTimer timer(times_.encode_seconds);
  const ClaraModel& model = *opened_.model;
  const std::int64_t document_bytes =
      model.num_memory() * model.base().config().hidden_size *
      static_cast<std::int64_t>(torch::elementSize(model.base().dtype()));
  if (!latents_ || latents_->num_stored() * document_bytes > kMaxStoredBytes) {
    if (latents_) num_encoded_before_ += latents_->num_encoded();
    latents_.emplace(model, std::make_unique<MemoryLatentStore>(), settings_.max_batch_tokens);
  }
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& document : documents) pointers.push_back(&document);
  return latents_->fetch(pointers);
}

void RowAnswerer::rank_by_text(const AnswerRequest& request, RowAnswer& answer) {
  if (!text_ranker_) {
    answer.ranking = rank_candidates(request.candidates, request.question, settings_, request.row,
                                     &answer.scores);
    return;
  }
  answer.scores = text_ranker_->scores(request.question, request.candidates.documents);
  answer.ranking = descending_order(answer.scores);
}

torch::Tensor RowAnswerer::rank_by_query_reasoner(const std::vector<AnswerRequest>& requests,
                                                  std::vector<RowAnswer>& answers) {
  std::vector<TokenIds> documents, questions;
  for (const AnswerRequest& request : requests) {
    std::vector<std::int32_t> all(request.candidates.documents.size());
    std::iota(all.begin(), all.end(), 0);
    for (TokenIds& ids : document_ids(request, all)) documents.push_back(std::move(ids));
    bool was_cut = false;
    questions.push_back(prompts_.encoder_ids(request.question, &was_cut));
    if (was_cut) ++counts_.num_cut_questions;
  }
  torch::Tensor latents = fetch_latents(documents);
  const ScopeTimer timer(times_.encode_seconds);
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& question : questions) pointers.push_back(&question);
  const torch::Tensor vectors =
      encode_documents(*opened_.model, question_reader(opened_.description), pointers,
                       settings_.max_batch_tokens)
          .flatten(1);
  const torch::Tensor flat = latents.flatten(1);
  std::int64_t first = 0;
  for (std::size_t n = 0; n < requests.size(); ++n) {
    const auto count = static_cast<std::int64_t>(requests[n].candidates.documents.size());
    const torch::Tensor scores =
        cosine_scores(vectors[static_cast<std::int64_t>(n)], flat.narrow(0, first, count));
    const torch::Tensor order = topk_indices(scores, count).to(torch::kCPU).contiguous();
    const torch::Tensor host_scores = scores.to(torch::kCPU).contiguous();
    const auto* order_data = order.const_data_ptr<std::int64_t>();
    const auto* score_data = host_scores.const_data_ptr<float>();
    answers[n].ranking.assign(order_data, order_data + count);
    answers[n].scores.assign(score_data, score_data + count);
    first += count;
  }
  return latents;
}

}  // namespace clara
