// Compresses documents to latents, lets the query reasoner choose among them and answers a
// question. Usage: compress_and_answer CHECKPOINT QUESTION DOCUMENT... (a final/ folder or
// checkpoint of a run)
#include <iostream>
#include <vector>

#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"
#include "clara/data/prompts.h"
#include "clara/eval/generate.h"
#include "clara/latents/document_latents.h"
#include "clara/model/selection.h"

int main(int argc, char** argv) try {
  if (argc < 4) {
    std::cerr << "usage: compress_and_answer CHECKPOINT QUESTION DOCUMENT...\n";
    return 2;
  }
  const torch::NoGradGuard no_grad;
  const clara::OpenedModel opened = clara::open_checkpoint(argv[1]);
  const clara::ClaraModel& model = *opened.model;
  const clara::TextSide& text = opened.text;
  clara::PromptSettings settings;
  settings.doc_max_tokens = opened.description.doc_max_tokens;
  const clara::PromptBuilder prompts(*text.tokenizer, text.chat_format, text.special_tokens,
                                     text.bos_id, text.eos_id, settings);

  // K documents, once and for all questions: M latents of width D each, [K, M, D].
  std::vector<clara::TokenIds> documents;
  for (int i = 3; i < argc; ++i) documents.push_back(prompts.encoder_ids(argv[i]));
  std::vector<const clara::TokenIds*> pointers;
  for (const clara::TokenIds& document : documents) pointers.push_back(&document);
  const torch::Tensor latents =
      clara::encode_documents(model, clara::AdapterRole::kCompressor, pointers, 8192);

  // The question becomes a vector of the same space; the nearest documents are read.
  const clara::TokenIds question = prompts.encoder_ids(argv[2]);
  const torch::Tensor query = model.encode_questions(model.pack({&question}));
  const torch::Tensor scores = clara::cosine_scores(query[0], latents.flatten(1));
  const torch::Tensor chosen = clara::topk_indices(scores, opened.description.num_selected);
  const auto num_chosen = static_cast<std::int32_t>(chosen.numel());

  const std::vector<clara::TokenIds> answers =
      clara::generate_answers(model, {prompts.answer_prompt(argv[2], num_chosen)},
                              latents.index_select(0, chosen), text.end_ids);
  std::cout << text.tokenizer->decode(answers.front(), /*skip_special=*/true) << "\n";
} catch (const std::exception& error) {
  std::cerr << "error: " << error.what() << "\n";
  return 1;
}
