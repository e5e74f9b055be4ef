// Loss terms that are equations of their own (numerics §5).
#pragma once

#include <vector>

#include <torch/types.h>

#include "clara/data/example.h"
#include "clara/model/clara_model.h"

namespace clara {

/// What a memory token predicts: its share of the text, or all of it. Latents that all know the
/// whole document's words rank by its words; shares know their order.
enum class LatentTokenTarget { kSpan, kDocument };

/// The warm-up term of documents [N] with latents [N, M, D]: for memory token j of a document of L
/// text tokens, −mean log p of its `target` under softmax(head · latent_j) over the V base rows;
/// mean over j, summed over documents. Text tokens are those between <ENC> BOS and EOS
/// (`bos_id`, `eos_id`: -1 where there is none). Differentiable in the latents. float32 scalar.
torch::Tensor latent_token_loss(const ClaraModel& model, const torch::Tensor& latents_NMD,
                                const std::vector<const TokenIds*>& documents,
                                LatentTokenTarget target, TokenId bos_id, TokenId eos_id);

}  // namespace clara
