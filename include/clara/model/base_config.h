// The base LLM's architecture, read from a Hugging Face config.json (numerics §8). Needs no
// LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clara {

/// Rotary position embedding.
struct RopeConfig {
  enum class Kind { kDefault, kLinear, kLlama3 };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  double factor = 1.0;                   ///< linear, llama3
  double low_freq_factor = 1.0;          ///< llama3
  double high_freq_factor = 4.0;         ///< llama3
  double original_max_positions = 8192;  ///< llama3
};

/// One linear layer of a decoder block, by the name the checkpoint and PEFT give it.
struct ProjectionSpec {
  std::string path;  ///< "self_attn.q_proj"
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool bias = false;
  /// The last part of the path: what LoRA's target_modules name.
  std::string module_name() const { return path.substr(path.rfind('.') + 1); }
};

/// Places of a block's projections in BaseConfig::projections().
enum ProjectionIndex : std::size_t { kQ, kK, kV, kO, kGate, kUp, kDown, kNumProjections };

/// Everything that decides what the base model computes.
struct BaseConfig {
  std::string model_type;        ///< "llama", "mistral", "qwen2", "qwen3"
  std::int64_t hidden_size = 0;  ///< D
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_rows = 0;     ///< V: rows of the embedding
  std::int64_t max_positions = 0;  ///< longest sequence the model was made for
  double rms_norm_eps = 1e-5;
  bool tie_word_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  ///< RMSNorm of each query and key head (Qwen3)
  RopeConfig rope;
  std::vector<std::int32_t> end_ids;  ///< eos_token_id of config.json and generation_config.json

  /// The block's linear layers in the order of ProjectionIndex.
  std::vector<ProjectionSpec> projections() const;
  /// Parameters of the blocks' matrices (biases and norms not counted).
  std::int64_t num_matrix_parameters() const;
  /// All parameters, embedding and head included (a tied head is counted once).
  std::int64_t num_parameters() const;
};

/// Reads `folder`/config.json and generation_config.json (optional). Throws DataError that names
/// the file and the key: a missing value, a wrong type, or a value that would change the result and
/// is not supported.
BaseConfig load_base_config(const std::filesystem::path& folder);

}  // namespace clara
