// The warm-up term: each memory token predicts its span of the text, or the whole of it.
#include "clara/objectives/loss_terms.h"

#include <algorithm>

#include "common/device_copy.h"
#include "objectives/document_text.h"
#include <ATen/record_function.h>
#include <torch/torch.h>

namespace clara {

torch::Tensor latent_token_loss(const ClaraModel& model, const torch::Tensor& latents_NMD,
                                const std::vector<const TokenIds*>& documents,
                                const LatentTokenTargets& targets) {
  RECORD_USER_SCOPE("clara::loss");
  const std::int64_t num_memory = model.num_memory();
  std::vector<std::int64_t> rows, spans;  // memory tokens, and the span that each predicts
  std::vector<std::int64_t> tokens, token_spans;
  std::vector<std::int64_t> first_tokens;  // by span
  std::vector<float> token_weights;
  const auto add_span = [&](const TokenIds& text, std::int64_t first, std::int64_t end) {
    const auto span = static_cast<std::int64_t>(first_tokens.size());
    first_tokens.push_back(text[static_cast<std::size_t>(first)]);
    float sum = 0;
    for (std::int64_t t = first; t < end; ++t) {
      const TokenId token = text[static_cast<std::size_t>(t)];
      tokens.push_back(token);
      token_spans.push_back(span);
      token_weights.push_back(targets.token_weights.empty()
                                  ? 1.0F
                                  : targets.token_weights[static_cast<std::size_t>(token)]);
      sum += token_weights.back();
    }
    for (auto weight = token_weights.end() - (end - first); weight != token_weights.end(); ++weight)
      *weight /= sum;
  };
  for (std::size_t n = 0; n < documents.size(); ++n) {
    const TokenIds text =
        document_text(*documents[n], static_cast<TokenId>(model.base().config().vocab_rows),
                      targets.bos_id, targets.eos_id);
    const auto length = static_cast<std::int64_t>(text.size());
    if (length == 0) continue;
    if (targets.target == LatentTokenTarget::kDocument) add_span(text, 0, length);
    for (std::int64_t j = 0; j < num_memory; ++j) {
      if (targets.target == LatentTokenTarget::kSpan) {
        const std::int64_t first = j * length / num_memory;
        add_span(text, first, std::max((j + 1) * length / num_memory, first + 1));
      }
      rows.push_back(static_cast<std::int64_t>(n) * num_memory + j);
      spans.push_back(static_cast<std::int64_t>(first_tokens.size()) - 1);
    }
  }
  const torch::Tensor flat = latents_NMD.reshape({-1, latents_NMD.size(-1)});
  const auto on_device = [&](const std::vector<std::int64_t>& values) {
    return to_device(values, flat.device());
  };
  // A span's mean of −log p is the cross-entropy of its first token plus that token's logit less
  // the mean of all its tokens': one softmax a memory token, whose gradient the chunked loss keeps
  // in [D].
  const torch::Tensor& head = model.base().weights().head;
  const auto head_rows = [&](const torch::Tensor& ids) {
    return head.index_select(0, ids).to(torch::kFloat32);
  };
  const torch::Tensor first_ids = on_device(first_tokens);
  const torch::Tensor firsts = head_rows(first_ids);
  const torch::Tensor weights = to_device(torch::tensor(token_weights), flat.device());
  const torch::Tensor means = torch::zeros_like(firsts).index_add_(
      0, on_device(token_spans), head_rows(on_device(tokens)) * weights.unsqueeze(1));
  const torch::Tensor row_spans = on_device(spans);
  const torch::Tensor predicting = flat.index_select(0, on_device(rows));
  const torch::Tensor first_loss =
      chunked_cross_entropy(predicting, head,
                            torch::zeros({0, flat.size(1)}, flat.options().dtype(torch::kFloat32)),
                            first_ids.index_select(0, row_spans))
          .sum;
  const torch::Tensor leads =
      (predicting.to(torch::kFloat32) * (firsts - means).index_select(0, row_spans)).sum();
  return (first_loss + leads) / static_cast<double>(num_memory);
}

}  // namespace clara
