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

/// What the warm-up term asks of the memory tokens.
struct LatentTokenTargets {
  LatentTokenTarget target = LatentTokenTarget::kSpan;
  TokenId bos_id = -1;  ///< of compressor inputs; -1: none
  TokenId eos_id = -1;
  /// [V] how much a token counts in the mean over its target, above 0 (TokenIdf); empty: all
  /// alike.
  std::vector<float> token_weights;
};

/// The warm-up term of documents [N] with latents [N, M, D]: for memory token j of a document of L
/// text tokens, −(weighted) mean log p of its target under softmax(head · latent_j) over the V base
/// rows; mean over j, summed over documents. Text tokens are those between <ENC> BOS and EOS.
/// Differentiable in the latents. float32 scalar.
torch::Tensor latent_token_loss(const ClaraModel& model, const torch::Tensor& latents_NMD,
                                const std::vector<const TokenIds*>& documents,
                                const LatentTokenTargets& targets);

}  // namespace clara
