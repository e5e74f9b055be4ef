// The warm-up term as a weighted cross-entropy: each (memory token, text token) pair is one row of
// a softmax.
#include "clara/objectives/loss_terms.h"

#include <algorithm>

#include <torch/torch.h>

namespace clara {
namespace {

/// The text tokens of a compressor input: without the added tokens and, where they are there,
/// without BOS and EOS (text never holds control tokens, so an EOS in the last place is the
/// template's).
TokenIds text_tokens(const TokenIds& document, TokenId vocab_rows, TokenId bos_id, TokenId eos_id) {
  TokenIds text;
  for (TokenId id : document) {
    if (id < vocab_rows) text.push_back(id);
  }
  if (!text.empty() && text.front() == bos_id) text.erase(text.begin());
  if (!text.empty() && text.back() == eos_id) text.pop_back();
  return text;
}

}  // namespace

torch::Tensor latent_token_loss(const ClaraModel& model, const torch::Tensor& latents_NMD,
                                const std::vector<const TokenIds*>& documents, TokenId bos_id,
                                TokenId eos_id) {
  const std::int64_t num_memory = model.num_memory();
  std::vector<std::int64_t> rows, targets;
  std::vector<float> weights;
  for (std::size_t n = 0; n < documents.size(); ++n) {
    const TokenIds text = text_tokens(
        *documents[n], static_cast<TokenId>(model.base().config().vocab_rows), bos_id, eos_id);
    const auto length = static_cast<std::int64_t>(text.size());
    if (length == 0) continue;
    for (std::int64_t j = 0; j < num_memory; ++j) {
      const std::int64_t first = j * length / num_memory;
      const std::int64_t last = std::max((j + 1) * length / num_memory, first + 1) - 1;
      for (std::int64_t t = first; t <= last; ++t) {
        rows.push_back(static_cast<std::int64_t>(n) * num_memory + j);
        targets.push_back(text[static_cast<std::size_t>(t)]);
        weights.push_back(1.0F / static_cast<float>((last - first + 1) * num_memory));
      }
    }
  }
  const torch::Device device = latents_NMD.device();
  const torch::Tensor row_index = torch::tensor(rows, torch::kInt64).to(device);
  const torch::Tensor flat = latents_NMD.reshape({-1, latents_NMD.size(-1)});
  // log p of a pair = logit − logsumexp of its memory token's row; the logsumexp is computed once a
  // memory token, in chunks of documents, so that no [N·M, V] tensor of the whole batch exists.
  const torch::Tensor& head = model.base().weights().head;
  constexpr std::int64_t kChunk = 256;
  std::vector<torch::Tensor> normalisers;
  for (std::int64_t begin = 0; begin < flat.size(0); begin += kChunk) {
    const torch::Tensor part = flat.narrow(0, begin, std::min(kChunk, flat.size(0) - begin));
    normalisers.push_back(torch::logsumexp(torch::mm(part, head.t()).to(torch::kFloat32), {1}));
  }
  const torch::Tensor target_rows =
      head.index_select(0, torch::tensor(targets, torch::kInt64).to(device));
  const torch::Tensor logits =
      (flat.index_select(0, row_index).to(torch::kFloat32) * target_rows.to(torch::kFloat32))
          .sum(1);
  const torch::Tensor nll = torch::cat(normalisers).index_select(0, row_index) - logits;
  return (nll * torch::tensor(weights).to(device)).sum();
}

}  // namespace clara
