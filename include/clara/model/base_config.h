// The base LLM's architecture, read from a Hugging Face config.json (numerics §8). Needs no
// LibTorch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clara {

/// Rotary position embedding.
struct RopeConfig {
  enum class Kind { kDefault, kLinear, kLlama3, kLongRope };
  Kind kind = Kind::kDefault;
  double theta = 10000.0;
  /// The first rotary_dims() dimensions of a head are rotated, the rest are not.
  double partial_rotary_factor = 1.0;
  double factor = 1.0;                   ///< linear, llama3
  double low_freq_factor = 1.0;          ///< llama3
  double high_freq_factor = 4.0;         ///< llama3
  double original_max_positions = 8192;  ///< llama3, longrope
  /// longrope: divisors of the frequencies, [rotary_dims / 2], of sequences up to
  /// original_max_positions and of longer ones.
  std::vector<double> short_factor, long_factor;
  double attention_factor = 1.0;  ///< longrope: scales queries and keys

  std::int64_t rotary_dims(std::int64_t head_dim) const {
    return static_cast<std::int64_t>(static_cast<double>(head_dim) * partial_rotary_factor);
  }
};

/// The linear layers of a block that share an input, and the order of these groups. A family makes
/// q, k, v (gate, up) of one matrix or of a matrix each.
enum class ProjectionGroup { kQkv, kOutput, kGateUp, kDown };

/// One linear layer of a decoder block, by the name the checkpoint and PEFT give it.
struct ProjectionSpec {
  std::string path;  ///< "self_attn.q_proj"
  std::int64_t in_features = 0;
  std::int64_t out_features = 0;
  bool bias = false;
  ProjectionGroup group = ProjectionGroup::kQkv;
  /// The last part of the path: what LoRA's target_modules name.
  std::string module_name() const { return path.substr(path.rfind('.') + 1); }
};

/// Places in BaseConfig::projections().
struct ProjectionRange {
  std::size_t first = 0;
  std::size_t count = 0;
};

/// Everything that decides what the base model computes.
struct BaseConfig {
  std::string model_type;        ///< "llama", "mistral", "qwen2", "qwen3", "phi3"
  std::int64_t hidden_size = 0;  ///< D
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t num_kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t vocab_rows = 0;     ///< V: rows of the embedding
  std::int64_t max_positions = 0;  ///< longest sequence the model was made for
  /// Tokens that a token attends to, itself included; 0: all before it. Attention here has no
  /// window, so that sequences must fit into it (longest_sequence()).
  std::int64_t sliding_window = 0;
  double rms_norm_eps = 1e-5;
  bool tie_word_embeddings = false;
  bool fused_projections = false;  ///< q, k, v are one matrix, gate and up another (Phi-3)
  bool qkv_bias = false;
  bool output_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;  ///< RMSNorm of each query and key head (Qwen3)
  RopeConfig rope;
  std::vector<std::int32_t> end_ids;  ///< eos_token_id of config.json and generation_config.json

  /// The block's linear layers, group by group.
  std::vector<ProjectionSpec> projections() const;
  ProjectionRange projection_range(ProjectionGroup group) const;
  /// Tokens of the longest sequence that is computed as the model was made to: max_positions, or
  /// the sliding window if that is smaller.
  std::int64_t longest_sequence() const;
  /// What sets longest_sequence(), for messages: "4096 positions (config.json:
  /// max_position_embeddings)".
  std::string longest_sequence_reason() const;
  /// Parameters of the blocks' matrices (biases and norms not counted).
  std::int64_t num_matrix_parameters() const;
  /// All parameters, embedding and head included (a tied head is counted once).
  std::int64_t num_parameters() const;
};

/// Reads `folder`/config.json and generation_config.json (optional). Throws DataError that names
/// the file and the key: a missing value, a wrong type, or a value that would change the result and
/// is not supported. A sliding window is not refused here: whether it matters depends on how long
/// the sequences of a run are.
BaseConfig load_base_config(const std::filesystem::path& folder);

}  // namespace clara
