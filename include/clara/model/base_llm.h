// The frozen decoder-only LLM; the adapter is an argument of every pass (numerics §1, §8).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include <torch/types.h>

#include "clara/model/base_config.h"
#include "clara/model/lora.h"
#include "clara/model/packed_sequences.h"
#include "clara/model/rotary.h"

namespace clara {

/// Rotated keys and values of every layer, for greedy decoding.
class KvCache {
 public:
  /// Room for `capacity` tokens of `num_sequences` sequences.
  KvCache(const BaseConfig& config, std::int64_t num_sequences, std::int64_t capacity,
          torch::TensorOptions options);
  std::int64_t capacity() const { return capacity_; }
  /// [N, Hkv, capacity, hd] of a layer.
  torch::Tensor& keys(std::int64_t layer) { return keys_[static_cast<std::size_t>(layer)]; }
  torch::Tensor& values(std::int64_t layer) { return values_[static_cast<std::size_t>(layer)]; }

 private:
  std::int64_t capacity_;
  std::vector<torch::Tensor> keys_, values_;
};

/// How a pass runs.
struct PassSettings {
  double dropout = 0;              ///< LoRA dropout; only in training passes of a trained adapter
  std::uint64_t dropout_seed = 0;  ///< from (seed, step, rank, micro-batch, pass)
  bool activation_checkpointing =
      false;  ///< keep only each block's input and compute the block again in backward
};

/// Weights of a decoder block, no gradients.
struct DecoderLayerWeights {
  torch::Tensor input_norm;                ///< [D]
  torch::Tensor post_attention_norm;       ///< [D]
  torch::Tensor q_norm, k_norm;            ///< [hd] or undefined
  std::vector<torch::Tensor> projections;  ///< [out, in], in the order of BaseConfig::projections()
  std::vector<torch::Tensor>
      biases;  ///< [out] or undefined, in the order of BaseConfig::projections()
};

struct BaseWeights {
  torch::Tensor embedding;  ///< [V, D]
  std::vector<DecoderLayerWeights> layers;
  torch::Tensor final_norm;  ///< [D]
  torch::Tensor head;        ///< [V, D]; the embedding itself where tied
};

class BaseLlm {
 public:
  BaseLlm(BaseConfig config, BaseWeights weights);

  const BaseConfig& config() const { return config_; }
  const BaseWeights& weights() const { return weights_; }
  torch::Dtype dtype() const { return weights_.embedding.scalar_type(); }
  torch::Device device() const { return weights_.embedding.device(); }
  /// A sequence longer than this is rotated otherwise from its first token on (LongRoPE); the
  /// largest int64 where none is.
  std::int64_t rotary_limit() const { return rotary_.limit(); }

  /// Hidden states after the final norm, [T, D], of packed embeddings [T, D] in dtype(). `adapter`
  /// may be null (the plain base). With `cache` the keys and values are kept (no gradient then).
  torch::Tensor forward(const torch::Tensor& embeddings,
                        const std::shared_ptr<const PackedLayout>& layout,
                        const LoraAdapter* adapter, const PassSettings& pass = {},
                        KvCache* cache = nullptr) const;

  /// One more token a sequence: embeddings [N, D], positions [N] int64, the largest of which is
  /// `longest` − 1. → [N, D]. What the cache holds of a sequence was rotated for its length then: a
  /// sequence that grows beyond rotary_limit() needs forward() over all of it instead.
  torch::Tensor forward_next(const torch::Tensor& embeddings, const torch::Tensor& positions,
                             std::int64_t longest, const LoraAdapter* adapter,
                             KvCache& cache) const;

 private:
  void check_length(std::int64_t num_tokens) const;

  BaseConfig config_;
  BaseWeights weights_;
  RotaryEmbedding rotary_;
};

/// Reads the weights of a Hugging Face folder. CPU weights whose type is `dtype` stay
/// memory-mapped; others are converted. Throws DataError "…: tensor NAME: expected [14336, 4096],
/// found […] (config.json says …)"; unknown and missing tensors are named.
BaseLlm load_base_llm(const std::filesystem::path& folder, torch::Dtype dtype,
                      torch::Device device);

/// Checks names and shapes of the checkpoint's tensors against config.json without reading them
/// (for --plan and --dry-run).
void check_base_tensors(const std::filesystem::path& folder, const BaseConfig& config);

}  // namespace clara
