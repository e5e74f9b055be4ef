// One decoder block: attention and SwiGLU, each behind an RMSNorm and a residual.
#pragma once

#include <memory>
#include <utility>

#include "model/attention.h"
#include <torch/types.h>

#include "clara/model/base_llm.h"

namespace clara {

/// The residual stream between blocks: the true stream is x + delta; the addition happens in the
/// next norm.
struct Stream {
  torch::Tensor x;      ///< [T, D]
  torch::Tensor delta;  ///< [T, D]; undefined before the first block
};

/// What a block needs besides its input.
struct BlockContext {
  const BaseConfig* config = nullptr;
  const DecoderLayerWeights* weights = nullptr;
  const LoraAdapter* adapter = nullptr;  ///< null: the plain base
  std::int64_t layer = 0;
  PassSettings pass;
  RotaryTable rotary;
  std::shared_ptr<const PackedLayout> layout;  ///< null in cached decoding
  LayerCache* cache = nullptr;
  torch::Tensor positions;   ///< cached decoding: [N]
  std::int64_t longest = 0;  ///< cached decoding
};

/// The block as an equation. Differentiable in the stream and in the adapter.
Stream decoder_layer(const Stream& in, const BlockContext& context);

/// The same result, keeping only the stream and running the block again in backward.
Stream checkpointed_decoder_layer(const Stream& in, const BlockContext& context);

}  // namespace clara
