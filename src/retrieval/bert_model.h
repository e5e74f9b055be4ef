// The forward pass of BERT over packed inputs, float32 on the CPU.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "retrieval/encoder_folder.h"
#include "retrieval/encoder_weights.h"
#include <torch/types.h>

#include "clara/tokenizer/sequence_template.h"

namespace clara {

/// One linear layer: weight [out, in] and bias [out].
struct BertLinear {
  torch::Tensor weight;
  torch::Tensor bias;
};

/// One LayerNorm.
struct BertNorm {
  torch::Tensor weight;
  torch::Tensor shift;
};

struct BertLayer {
  BertLinear qkv;  ///< rows of q, k, v
  BertLinear attention_output;
  BertNorm attention_norm;
  BertLinear intermediate;
  BertLinear output;
  BertNorm output_norm;
};

/// Memory of one caller of BertModel::pooled: grows to its largest batch and is used again.
struct BertScratch {
  torch::Tensor states, qkv, context, projected, intermediate;
};

class BertModel {
 public:
  /// Takes embeddings and layers out of `weights`.
  BertModel(const BertConfig& config, EncoderWeights& weights);

  const BertConfig& config() const { return config_; }

  /// [N, D]: the pooled last states of `inputs` (not empty; ids, types and lengths within the
  /// model's).
  torch::Tensor pooled(const std::vector<const TypedTokens*>& inputs, Pooling pooling,
                       BertScratch& scratch) const;

 private:
  BertConfig config_;
  torch::Tensor words_, positions_, types_;
  BertNorm embedding_norm_;
  std::vector<BertLayer> layers_;
};

/// Calls `run(indices)` for batches of the inputs of these `lengths`: longest first, of at most
/// `batch_tokens` tokens (a longer input is alone).
void for_each_batch(const std::vector<std::int64_t>& lengths, std::int64_t batch_tokens,
                    const std::function<void(const std::vector<std::size_t>&)>& run);

}  // namespace clara
