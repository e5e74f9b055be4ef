// The paraphrase prompts of scp rows, answered from own and from other latents.
#include "clara/analysis/paraphrase_check.h"

#include <algorithm>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/eval/generate.h"
#include "clara/eval/opened_prompts.h"
#include "clara/latents/document_latents.h"

namespace clara {
namespace {

constexpr std::size_t kDocumentsTogether = 16;

/// The prompt of a paraphrase row; the same for every document.
TokenIds paraphrase_prompt(const PromptBuilder& prompts, const std::string& document,
                           std::int32_t instruction) {
  ScpRecord record;
  record.kind = ScpRecord::Kind::kParaphrase;
  record.document = document;
  record.answers = {document};
  record.instruction = instruction;
  record.place.file = "document";
  Example example = prompts.scp_example(record, 0, 0);
  example.tokens.resize(static_cast<std::size_t>(example.prompt_length));
  return example.tokens;
}

}  // namespace

std::vector<ParaphraseCheck> check_paraphrases(const OpenedModel& opened,
                                               const std::vector<std::string>& documents,
                                               const ParaphraseSettings& settings,
                                               const std::function<void(std::int64_t)>& progress) {
  if (settings.instruction < 1 ||
      settings.instruction > static_cast<std::int32_t>(kParaphraseInstructions.size())) {
    throw ConfigError("instruction: expected 1 to " +
                      std::to_string(kParaphraseInstructions.size()) + ", found " +
                      std::to_string(settings.instruction));
  }
  if (documents.size() < 2) {
    throw DataError("paraphrases: expected at least 2 documents, found " +
                    std::to_string(documents.size()));
  }
  const torch::NoGradGuard no_grad;
  const PromptBuilder prompts = make_prompt_builder(opened, 1, 0);
  GenerationSettings generation;
  generation.max_new_tokens = settings.max_new_tokens;
  generation.max_batch_tokens = settings.max_batch_tokens;
  const auto encode = [&](const std::vector<std::size_t>& places) {
    std::vector<TokenIds> inputs;
    std::vector<const TokenIds*> pointers;
    for (const std::size_t place : places) inputs.push_back(prompts.encoder_ids(documents[place]));
    for (const TokenIds& input : inputs) pointers.push_back(&input);
    return encode_documents(*opened.model, AdapterRole::kCompressor, pointers,
                            settings.max_batch_tokens);
  };
  const auto answer = [&](const TokenIds& prompt, const torch::Tensor& latents) {
    const std::vector<TokenIds> all(static_cast<std::size_t>(latents.size(0)), prompt);
    std::vector<std::string> texts;
    for (const TokenIds& ids :
         generate_answers(*opened.model, all, latents, opened.text.end_ids, generation)) {
      texts.emplace_back(
          strip_whitespace(opened.text.tokenizer->decode(ids, /*skip_special=*/true)));
    }
    return texts;
  };

  std::vector<ParaphraseCheck> checks;
  const TokenIds prompt = paraphrase_prompt(prompts, documents.front(), settings.instruction);
  for (std::size_t begin = 0; begin < documents.size(); begin += kDocumentsTogether) {
    const std::size_t end = std::min(documents.size(), begin + kDocumentsTogether);
    // Own latents, then each document's follower's, which the batch shares but for the last.
    std::vector<std::size_t> places;
    for (std::size_t i = begin; i <= end; ++i) places.push_back(i % documents.size());
    const torch::Tensor latents = encode(places);
    const auto count = static_cast<std::int64_t>(end - begin);
    const std::vector<std::string> own = answer(prompt, latents.narrow(0, 0, count));
    const std::vector<std::string> other = answer(prompt, latents.narrow(0, 1, count));
    for (std::size_t i = begin; i < end; ++i) {
      ParaphraseCheck check;
      check.document = documents[i];
      check.paraphrase = own[i - begin];
      check.other_answer = other[i - begin];
      check.own = rouge_scores(check.paraphrase, check.document);
      check.other = rouge_scores(check.other_answer, check.document);
      check.own_name_recall = name_recall(check.paraphrase, check.document);
      check.other_name_recall = name_recall(check.other_answer, check.document);
      checks.push_back(std::move(check));
    }
    if (progress) progress(static_cast<std::int64_t>(end));
  }
  return checks;
}

}  // namespace clara
