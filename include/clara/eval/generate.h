// Greedy answers in batches, with a key-value cache (numerics §9 "Decoding").
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

#include "clara/model/clara_model.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

struct GenerationSettings {
  std::int64_t max_new_tokens = 64;
  /// Prompts decoded together: their number times (longest prompt + max_new_tokens), the tokens of
  /// the key-value cache, stays within this; a longer prompt is decoded alone.
  std::int64_t max_batch_tokens = 8192;
  bool plain_base = false;  ///< the base model without the generator adapter (baselines)
};

/// The generator's most probable continuation of each prompt, token by token, ties to the lower id,
/// until one of `end_ids` (which is left out) or max_new_tokens. Only the V base rows of the output
/// head compete: tokens that CLaRa added are never generated. `latents` [documents·M, D] (or
/// [documents, M, D]) stand at the memory tokens of all prompts in order; undefined where no prompt
/// has any. A prompt's answer does not depend on the others (but for rounding). An answer ends
/// early where the base model has no positions left. Throws DataError for an empty prompt or one
/// longer than the base model's positions, NonFiniteError for logits that are not finite.
std::vector<TokenIds> generate_answers(const ClaraModel& model,
                                       const std::vector<TokenIds>& prompts,
                                       const torch::Tensor& latents,
                                       const std::vector<TokenId>& end_ids,
                                       const GenerationSettings& settings = {});

}  // namespace clara
