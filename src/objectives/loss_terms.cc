// The warm-up term: each memory token predicts its span of the text.
#include "clara/objectives/loss_terms.h"

#include <algorithm>

#include "common/device_copy.h"
#include <ATen/record_function.h>
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
  RECORD_USER_SCOPE("clara::loss");
  const std::int64_t num_memory = model.num_memory();
  std::vector<std::int64_t> rows, first_targets;  // memory tokens, and the first token of each span
  std::vector<std::int64_t> pair_rows, pair_firsts, pair_targets;  // the tokens behind the first
  std::vector<float> pair_weights;
  for (std::size_t n = 0; n < documents.size(); ++n) {
    const TokenIds text = text_tokens(
        *documents[n], static_cast<TokenId>(model.base().config().vocab_rows), bos_id, eos_id);
    const auto length = static_cast<std::int64_t>(text.size());
    if (length == 0) continue;
    for (std::int64_t j = 0; j < num_memory; ++j) {
      const std::int64_t first = j * length / num_memory;
      const std::int64_t end = std::max((j + 1) * length / num_memory, first + 1);
      rows.push_back(static_cast<std::int64_t>(n) * num_memory + j);
      first_targets.push_back(text[static_cast<std::size_t>(first)]);
      for (std::int64_t t = first + 1; t < end; ++t) {
        pair_rows.push_back(rows.back());
        pair_firsts.push_back(first_targets.back());
        pair_targets.push_back(text[static_cast<std::size_t>(t)]);
        pair_weights.push_back(1.0F / static_cast<float>(end - first));
      }
    }
  }
  const torch::Tensor flat = latents_NMD.reshape({-1, latents_NMD.size(-1)});
  const auto on_device = [&](const std::vector<std::int64_t>& values) {
    return to_device(values, flat.device());
  };
  // A span's mean of −log p is the cross-entropy of its first token plus the mean lead of that
  // token's logit over the others': one softmax a memory token, whose gradient the chunked loss
  // keeps in [D].
  const torch::Tensor& head = model.base().weights().head;
  const torch::Tensor first_loss =
      chunked_cross_entropy(flat.index_select(0, on_device(rows)), head,
                            torch::zeros({0, flat.size(1)}, flat.options().dtype(torch::kFloat32)),
                            on_device(first_targets))
          .sum;
  const auto logits_of = [&](const std::vector<std::int64_t>& tokens) {
    return head.index_select(0, on_device(tokens)).to(torch::kFloat32);
  };
  const torch::Tensor leads = (flat.index_select(0, on_device(pair_rows)).to(torch::kFloat32) *
                               (logits_of(pair_firsts) - logits_of(pair_targets)))
                                  .sum(1);
  const torch::Tensor weighted =
      (leads * to_device(torch::tensor(pair_weights), flat.device())).sum();
  return (first_loss + weighted) / static_cast<double>(num_memory);
}

}  // namespace clara
