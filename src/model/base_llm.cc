// The stack of blocks, with and without a key-value cache.
#include "clara/model/base_llm.h"

#include "model/decoder_layer.h"
#include "model/rms_norm.h"

#include "clara/common/error.h"

namespace clara {

KvCache::KvCache(const BaseConfig& config, std::int64_t num_sequences, std::int64_t capacity,
                 torch::TensorOptions options)
    : capacity_(capacity) {
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    keys_.push_back(
        torch::zeros({num_sequences, config.num_kv_heads, capacity, config.head_dim}, options));
    values_.push_back(
        torch::zeros({num_sequences, config.num_kv_heads, capacity, config.head_dim}, options));
  }
}

BaseLlm::BaseLlm(BaseConfig config, BaseWeights weights)
    : config_(std::move(config)), weights_(std::move(weights)) {
  rotary_ = RotaryEmbedding(config_.rope, config_.head_dim, device());
}

void BaseLlm::check_length(std::int64_t num_tokens) const {
  if (num_tokens > config_.longest_sequence()) {
    throw DataError("a sequence of " + std::to_string(num_tokens) +
                    " tokens is longer than the base model's " + config_.longest_sequence_reason());
  }
}

torch::Tensor BaseLlm::forward(const torch::Tensor& embeddings,
                               const std::shared_ptr<const PackedLayout>& layout,
                               const LoraAdapter* adapter, const PassSettings& pass,
                               KvCache* cache) const {
  check_length(layout->longest());
  const RotaryTable rotary = rotary_.of_sequences(*layout);
  Stream stream{embeddings, {}};
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    LayerCache layer_cache;
    BlockContext context{&config_, &weights_.layers[static_cast<std::size_t>(layer)],
                         adapter,  layer,
                         pass,     rotary,
                         layout,   nullptr,
                         {},       0};
    if (cache != nullptr) {
      layer_cache = {cache->keys(layer), cache->values(layer)};
      context.cache = &layer_cache;
    }
    stream = pass.activation_checkpointing ? checkpointed_decoder_layer(stream, context)
                                           : decoder_layer(stream, context);
  }
  return add_rms_norm(stream.x, stream.delta, weights_.final_norm, config_.rms_norm_eps).normed;
}

torch::Tensor BaseLlm::forward_next(const torch::Tensor& embeddings, const torch::Tensor& positions,
                                    std::int64_t longest, const LoraAdapter* adapter,
                                    KvCache& cache) const {
  const RotaryTable rotary = rotary_.of_last_tokens(positions);
  Stream stream{embeddings, {}};
  for (std::int64_t layer = 0; layer < config_.num_layers; ++layer) {
    LayerCache layer_cache{cache.keys(layer), cache.values(layer)};
    const BlockContext context{&config_,  &weights_.layers[static_cast<std::size_t>(layer)],
                               adapter,   layer,
                               {},        rotary,
                               nullptr,   &layer_cache,
                               positions, longest};
    stream = decoder_layer(stream, context);
  }
  return add_rms_norm(stream.x, stream.delta, weights_.final_norm, config_.rms_norm_eps).normed;
}

}  // namespace clara
