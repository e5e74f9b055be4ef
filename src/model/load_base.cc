// Safetensors of a Hugging Face folder → BaseWeights, every tensor accounted for.
#include <set>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/safetensors_file.h"
#include "clara/common/tensor_file.h"
#include "clara/model/base_llm.h"

namespace clara {
namespace {

/// One tensor that config.json promises.
struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::string reason;  ///< the config values the shape follows from
};

std::vector<ExpectedTensor> expected_tensors(const BaseConfig& c) {
  const std::string hidden = "hidden_size " + std::to_string(c.hidden_size);
  const std::string inner = "intermediate_size " + std::to_string(c.intermediate_size);
  const std::string heads = std::to_string(c.num_heads) + " heads and " +
                            std::to_string(c.num_kv_heads) + " key-value heads of head_dim " +
                            std::to_string(c.head_dim);
  std::vector<ExpectedTensor> all;
  all.push_back({"model.embed_tokens.weight",
                 {c.vocab_rows, c.hidden_size},
                 "vocab_size " + std::to_string(c.vocab_rows) + ", " + hidden});
  const std::vector<ProjectionSpec> projections = c.projections();
  for (std::int64_t layer = 0; layer < c.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    all.push_back({prefix + "input_layernorm.weight", {c.hidden_size}, hidden});
    all.push_back({prefix + "post_attention_layernorm.weight", {c.hidden_size}, hidden});
    if (c.qk_norm) {
      all.push_back({prefix + "self_attn.q_norm.weight", {c.head_dim}, heads});
      all.push_back({prefix + "self_attn.k_norm.weight", {c.head_dim}, heads});
    }
    for (const ProjectionSpec& spec : projections) {
      const bool is_attention =
          spec.group == ProjectionGroup::kQkv || spec.group == ProjectionGroup::kOutput;
      const std::string& reason = is_attention ? heads : inner;
      all.push_back(
          {prefix + spec.path + ".weight", {spec.out_features, spec.in_features}, reason});
      if (spec.bias) all.push_back({prefix + spec.path + ".bias", {spec.out_features}, reason});
    }
  }
  all.push_back({"model.norm.weight", {c.hidden_size}, hidden});
  if (!c.tie_word_embeddings) {
    all.push_back({"lm_head.weight",
                   {c.vocab_rows, c.hidden_size},
                   "vocab_size " + std::to_string(c.vocab_rows) + ", " + hidden});
  }
  return all;
}

/// Tensors that some checkpoints carry and no computation reads.
bool is_ignorable(const BaseConfig& config, const std::string& name) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (config.tie_word_embeddings && name == "lm_head.weight");
}

void check_tensors(const SafetensorsFolder& folder, const BaseConfig& config) {
  std::set<std::string> expected_names;
  for (const ExpectedTensor& expected : expected_tensors(config)) {
    expected_names.insert(expected.name);
    const TensorEntry& entry = folder.at(expected.name);
    if (entry.shape != expected.shape) {
      throw DataError(folder.path().string() + ": tensor " + expected.name + ": expected " +
                      shape_string(expected.shape) + ", found " + shape_string(entry.shape) +
                      " (config.json says " + expected.reason + ")");
    }
    if (entry.dtype != TensorDtype::kF32 && entry.dtype != TensorDtype::kBF16 &&
        entry.dtype != TensorDtype::kF16) {
      throw DataError(folder.path().string() + ": tensor " + expected.name +
                      ": expected float32, bfloat16 or float16, found " +
                      std::string(dtype_name(entry.dtype)) + "; quantised bases are not supported");
    }
  }
  for (const std::string& name : folder.names()) {
    if (!expected_names.contains(name) && !is_ignorable(config, name)) {
      throw DataError(folder.path().string() + ": tensor " + name + ": the model type \"" +
                      config.model_type +
                      "\" has no such tensor; config.json does not describe this checkpoint");
    }
  }
}

}  // namespace

void check_base_tensors(const std::filesystem::path& folder, const BaseConfig& config) {
  check_tensors(SafetensorsFolder(folder), config);
}

BaseLlm load_base_llm(const std::filesystem::path& folder, torch::Dtype dtype,
                      torch::Device device) {
  const BaseConfig config = load_base_config(folder);
  const SafetensorsFolder files(folder);
  check_tensors(files, config);
  const auto read = [&](const std::string& name) {
    return map_tensor(files.at(name), files.mapping(name)).to(device, dtype);
  };
  BaseWeights weights;
  weights.embedding = read("model.embed_tokens.weight");
  weights.final_norm = read("model.norm.weight");
  weights.head = config.tie_word_embeddings ? weights.embedding : read("lm_head.weight");
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer) + ".";
    DecoderLayerWeights block;
    block.input_norm = read(prefix + "input_layernorm.weight");
    block.post_attention_norm = read(prefix + "post_attention_layernorm.weight");
    if (config.qk_norm) {
      block.q_norm = read(prefix + "self_attn.q_norm.weight");
      block.k_norm = read(prefix + "self_attn.k_norm.weight");
    }
    for (const ProjectionSpec& spec : config.projections()) {
      block.projections.push_back(read(prefix + spec.path + ".weight"));
      block.biases.push_back(spec.bias ? read(prefix + spec.path + ".bias") : torch::Tensor());
    }
    weights.layers.push_back(std::move(block));
  }
  return {config, std::move(weights)};
}

}  // namespace clara
