// Memory states through the output head.
#include "clara/analysis/logit_lens.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "analysis/shown_text.h"
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/eval/opened_prompts.h"
#include "clara/latents/document_latents.h"
#include "clara/metrics/paraphrase_metrics.h"

namespace clara {
namespace {

constexpr const char* kReplacementCharacter = "\xEF\xBF\xBD";
constexpr std::size_t kShortestWord = 3;

std::string token_text(const Tokenizer& tokenizer, TokenId id) {
  std::string text = tokenizer.decode({id}, /*skip_special=*/false);
  const bool is_part = text.empty() || text.find(kReplacementCharacter) != std::string::npos;
  return is_part ? tokenizer.id_to_token(id) : text;
}

/// The reading of one text's states [M, D].
LensReading read_states(const torch::Tensor& states_MD, const OpenedModel& opened,
                        std::int64_t num_top) {
  const torch::Tensor& head = opened.model->base().weights().head;
  const torch::Tensor log_probabilities =
      torch::log_softmax(torch::linear(states_MD, head).to(torch::kFloat32), 1);
  const torch::Tensor probabilities = log_probabilities.exp();
  const torch::Tensor entropies = -(probabilities * log_probabilities).sum(1).to(torch::kCPU);
  auto [top, ids] = probabilities.topk(num_top, 1);
  top = top.to(torch::kCPU).contiguous();
  ids = ids.to(torch::kCPU).contiguous();
  const auto top_values = top.accessor<float, 2>();
  const auto top_ids = ids.accessor<std::int64_t, 2>();

  LensReading reading;
  std::map<TokenId, LensToken> tokens;
  const std::int64_t num_memory = states_MD.size(0);
  for (std::int64_t m = 0; m < num_memory; ++m) {
    std::vector<LensToken>& position = reading.positions.emplace_back();
    reading.entropies.push_back(entropies[m].item<double>());
    for (std::int64_t i = 0; i < num_top; ++i) {
      const auto id = static_cast<TokenId>(top_ids[m][i]);
      const double probability = static_cast<double>(top_values[m][i]);
      position.push_back({id, token_text(*opened.text.tokenizer, id), probability});
      LensToken& total =
          tokens.try_emplace(id, LensToken{id, position.back().text, 0}).first->second;
      total.probability += probability / static_cast<double>(num_memory);
    }
  }
  for (auto& [id, token] : tokens) reading.overall.push_back(std::move(token));
  std::stable_sort(
      reading.overall.begin(), reading.overall.end(),
      [](const LensToken& a, const LensToken& b) { return a.probability > b.probability; });
  if (reading.overall.size() > static_cast<std::size_t>(num_top))
    reading.overall.resize(static_cast<std::size_t>(num_top));
  return reading;
}

/// The word that a token is, in lower case; empty where it is none, has other characters than a
/// word's and blanks around it, or fewer than kShortestWord.
std::string word_of_token(const std::string& text) {
  const std::vector<std::string> words = lower_words(text);
  if (words.size() != 1) return {};
  const std::size_t length = shown_width(words[0]);
  return length < kShortestWord || length != shown_width(strip_whitespace(text)) ? "" : words[0];
}

/// Words of texts in lower case, sorted, so that a beginning is found by search.
class WordList {
 public:
  void add(const std::string& text) {
    for (std::string& word : lower_words(text)) words_.insert(std::move(word));
  }
  bool has_beginning(const std::string& word) const {
    const auto found = words_.lower_bound(word);
    return found != words_.end() && found->starts_with(word);
  }

 private:
  std::set<std::string> words_;
};

}  // namespace

std::vector<LensReading> logit_lens(const OpenedModel& opened,
                                    const std::vector<std::string>& texts,
                                    const LensSettings& settings) {
  const std::int64_t vocab_rows = opened.model->base().config().vocab_rows;
  if (settings.num_top < 1 || settings.num_top > vocab_rows) {
    throw ConfigError("num_top: expected 1 to " + std::to_string(vocab_rows) + ", found " +
                      std::to_string(settings.num_top));
  }
  if (texts.empty()) throw DataError("logit lens: expected at least one text, found none");
  const torch::NoGradGuard no_grad;
  const PromptBuilder prompts = make_prompt_builder(opened, 1, 0);
  std::vector<TokenIds> inputs;
  std::vector<const TokenIds*> pointers;
  for (const std::string& text : texts) {
    if (text.empty()) throw DataError("logit lens: expected texts, found an empty one");
    inputs.push_back(prompts.encoder_ids(text));
  }
  for (const TokenIds& input : inputs) pointers.push_back(&input);
  const torch::Tensor states_NMD =
      encode_documents(*opened.model, settings.adapter, pointers, settings.max_batch_tokens);
  std::vector<LensReading> readings;
  for (std::size_t n = 0; n < texts.size(); ++n) {
    readings.push_back(
        read_states(states_NMD[static_cast<std::int64_t>(n)], opened, settings.num_top));
    readings.back().text = texts[n];
  }
  return readings;
}

LensOverlap lens_overlap(const LensReading& reading, const std::string& question,
                         const std::vector<std::string>& evidence,
                         const std::vector<std::string>& others) {
  WordList question_words, evidence_words, other_words;
  question_words.add(question);
  for (const std::string& text : evidence) evidence_words.add(text);
  for (const std::string& text : others) other_words.add(text);
  std::set<std::string> words;
  for (const auto& position : reading.positions) {
    for (const LensToken& token : position) {
      std::string word = word_of_token(token.text);
      if (!word.empty()) words.insert(std::move(word));
    }
  }
  LensOverlap overlap;
  overlap.num_words = static_cast<std::int64_t>(words.size());
  if (words.empty()) return overlap;
  for (const std::string& word : words) {
    if (question_words.has_beginning(word)) {
      ++overlap.in_question;
      continue;
    }
    if (evidence_words.has_beginning(word)) ++overlap.in_evidence_only;
    if (other_words.has_beginning(word)) ++overlap.in_other_only;
  }
  for (double* share : {&overlap.in_question, &overlap.in_evidence_only, &overlap.in_other_only})
    *share /= static_cast<double>(words.size());
  return overlap;
}

}  // namespace clara
