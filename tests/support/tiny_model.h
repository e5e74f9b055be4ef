// A random CLaRa model small enough for laws (two layers, width 32, grouped-query attention), and
// rows for it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <torch/torch.h>

#include "clara/common/seeds.h"
#include "clara/data/example.h"
#include "clara/model/clara_model.h"

namespace clara::testing {

inline constexpr std::int64_t kTinyVocabRows = 50;  ///< V
inline constexpr std::int64_t kTinyNumMemory = 4;   ///< M
inline constexpr std::int64_t kTinyWidth = 32;      ///< D
inline constexpr std::int64_t kTinyRotaryLimit = 10;
inline constexpr TokenId kTinyBos = 1, kTinyEos = 2;
inline constexpr TokenId kTinyEnc = kTinyVocabRows + kTinyNumMemory + 1, kTinySep = kTinyEnc + 1;

struct TinyModelOptions {
  bool tied = true;
  bool qkv_bias = false;
  bool qk_norm = false;
  /// Fused projections, partial rotary, LongRoPE beyond kTinyRotaryLimit tokens.
  bool phi3 = false;
  torch::Dtype dtype = torch::kFloat32;
  std::uint64_t seed = 1;
  /// Non-zero B in every adapter, so that nothing hides behind a fresh adapter's zero.
  bool random_b = true;
};

inline BaseConfig tiny_config(const TinyModelOptions& options = {}) {
  BaseConfig config;
  config.model_type = options.phi3       ? "phi3"
                      : options.qk_norm  ? "qwen3"
                      : options.qkv_bias ? "qwen2"
                                         : "llama";
  config.hidden_size = kTinyWidth;
  config.intermediate_size = 48;
  config.num_layers = 2;
  config.num_heads = 4;
  config.num_kv_heads = 2;
  config.head_dim = 8;
  config.vocab_rows = kTinyVocabRows;
  config.max_positions = 96;
  config.tie_word_embeddings = options.tied;
  config.qkv_bias = options.qkv_bias;
  config.qk_norm = options.qk_norm;
  if (options.phi3) {
    config.fused_projections = true;
    config.rope.kind = RopeConfig::Kind::kLongRope;
    config.rope.partial_rotary_factor = 0.75;
    config.rope.short_factor = {1.0, 1.1, 1.4};
    config.rope.long_factor = {1.3, 2.5, 7.0};
    config.rope.original_max_positions = kTinyRotaryLimit;
    config.rope.attention_factor = 1.2;
  }
  return config;
}

inline BaseWeights tiny_weights(const BaseConfig& config, const TinyModelOptions& options = {}) {
  // More threads would only wait for each other over such small tensors.
  torch::set_num_threads(1);
  torch::manual_seed(options.seed);
  const auto matrix = [](std::int64_t out, std::int64_t in) {
    return torch::randn({out, in}) * 0.25;
  };
  const auto norm = [](std::int64_t width) { return 1 + 0.2 * torch::randn({width}); };
  BaseWeights weights;
  weights.embedding = torch::randn({config.vocab_rows, config.hidden_size});
  weights.final_norm = norm(config.hidden_size);
  weights.head = config.tie_word_embeddings ? weights.embedding
                                            : matrix(config.vocab_rows, config.hidden_size);
  for (std::int64_t layer = 0; layer < config.num_layers; ++layer) {
    DecoderLayerWeights block;
    block.input_norm = norm(config.hidden_size);
    block.post_attention_norm = norm(config.hidden_size);
    if (config.qk_norm) {
      block.q_norm = norm(config.head_dim);
      block.k_norm = norm(config.head_dim);
    }
    for (const ProjectionSpec& spec : config.projections()) {
      block.projections.push_back(matrix(spec.out_features, spec.in_features));
      block.biases.push_back(spec.bias ? 0.3 * torch::randn({spec.out_features}) : torch::Tensor());
    }
    weights.layers.push_back(std::move(block));
  }
  const auto cast = [&](torch::Tensor& t) {
    if (t.defined()) t = t.to(options.dtype);
  };
  cast(weights.embedding);
  cast(weights.final_norm);
  weights.head = config.tie_word_embeddings ? weights.embedding : weights.head.to(options.dtype);
  for (DecoderLayerWeights& block : weights.layers) {
    for (torch::Tensor* t :
         {&block.input_norm, &block.post_attention_norm, &block.q_norm, &block.k_norm})
      cast(*t);
    for (torch::Tensor& t : block.projections) cast(t);
    for (torch::Tensor& t : block.biases) cast(t);
  }
  return weights;
}

inline LoraSettings tiny_lora() {
  LoraSettings lora;
  lora.rank = 4;
  lora.alpha = 8;
  return lora;
}

inline std::unique_ptr<ClaraModel> tiny_model(const TinyModelOptions& options = {}) {
  const BaseConfig config = tiny_config(options);
  auto model = std::make_unique<ClaraModel>(BaseLlm(config, tiny_weights(config, options)),
                                            tiny_lora(), kTinyNumMemory, "noise", options.seed);
  if (options.random_b) {
    const torch::NoGradGuard no_grad;
    for (AdapterRole role : kAdapterRoles) {
      for (NamedTensor& named : model->adapter(role).named_tensors()) {
        if (named.name.ends_with("lora_B.weight"))
          named.tensor.copy_(0.2 * torch::randn_like(named.tensor));
      }
    }
  }
  return model;
}

/// `count` ordinary tokens drawn from `stream`, neither BOS nor EOS.
inline TokenIds tiny_text(SeedStream& stream, std::int64_t count) {
  TokenIds text;
  for (std::int64_t i = 0; i < count; ++i)
    text.push_back(static_cast<TokenId>(3 + stream.below(kTinyVocabRows - 3)));
  return text;
}

/// <ENC> BOS text EOS and the memory tokens (numerics §3).
inline TokenIds compressor_input(const TokenIds& text) {
  TokenIds tokens = {kTinyEnc, kTinyBos};
  tokens.insert(tokens.end(), text.begin(), text.end());
  tokens.push_back(kTinyEos);
  for (std::int64_t j = 0; j < kTinyNumMemory; ++j)
    tokens.push_back(static_cast<TokenId>(kTinyVocabRows + j));
  return tokens;
}

struct TinyRow {
  std::int64_t num_documents = 1;
  std::int32_t num_slots = 1;  ///< documents in the prompt
  bool question = false;       ///< joint, retriever
  std::vector<std::int32_t> positives;
};

/// A row whose lengths and tokens follow from `seed`.
inline Example tiny_example(std::uint64_t seed, const TinyRow& row = {}) {
  SeedStream stream(derive_seed(seed, "tiny_example"));
  const auto between = [&](std::int64_t low, std::int64_t high) {
    return low +
           static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(high - low + 1)));
  };
  Example example;
  for (std::int64_t k = 0; k < row.num_documents; ++k)
    example.documents.push_back(compressor_input(tiny_text(stream, between(3, 12))));
  if (row.question) example.question = compressor_input(tiny_text(stream, between(2, 6)));
  example.tokens = tiny_text(stream, between(1, 4));
  for (std::int32_t s = 0; s < row.num_slots; ++s) {
    for (std::int64_t j = 0; j < kTinyNumMemory; ++j)
      example.tokens.push_back(static_cast<TokenId>(kTinyVocabRows + j));
    example.tokens.push_back(kTinySep);
  }
  const auto append = [&](const TokenIds& more) {
    example.tokens.insert(example.tokens.end(), more.begin(), more.end());
  };
  append(tiny_text(stream, between(1, 5)));
  example.prompt_length = static_cast<std::int32_t>(example.tokens.size());
  append(tiny_text(stream, between(1, 5)));
  example.tokens.push_back(kTinyEos);
  example.num_slots = row.num_slots;
  example.positives = row.positives;
  example.place = "rows.jsonl:" + std::to_string(seed);
  return example;
}

/// Rows of one document each, as scp has them.
inline std::vector<Example> scp_rows(std::int64_t count, std::uint64_t seed = 100) {
  std::vector<Example> rows;
  for (std::int64_t i = 0; i < count; ++i)
    rows.push_back(tiny_example(seed + static_cast<std::uint64_t>(i)));
  return rows;
}

/// Rows of `num_candidates` documents and a question each, the second and third candidate positive.
inline std::vector<Example> joint_rows(std::int64_t count, std::int64_t num_candidates = 6,
                                       std::int32_t num_slots = 2, std::uint64_t seed = 500) {
  std::vector<Example> rows;
  for (std::int64_t i = 0; i < count; ++i) {
    rows.push_back(tiny_example(seed + static_cast<std::uint64_t>(i),
                                {num_candidates, num_slots, true, {1, 2}}));
  }
  return rows;
}

inline std::vector<const Example*> pointers_to(const std::vector<Example>& rows) {
  std::vector<const Example*> result;
  for (const Example& row : rows) result.push_back(&row);
  return result;
}

inline std::vector<const TokenIds*> documents_of(const std::vector<Example>& rows) {
  std::vector<const TokenIds*> result;
  for (const Example& row : rows) {
    for (const TokenIds& document : row.documents) result.push_back(&document);
  }
  return result;
}

/// Generator inputs of rows.
inline AnswerBatch answers_of(const ClaraModel& model, const std::vector<Example>& rows) {
  std::vector<const TokenIds*> sequences;
  std::vector<std::int32_t> prompt_lengths;
  for (const Example& row : rows) {
    sequences.push_back(&row.tokens);
    prompt_lengths.push_back(row.prompt_length);
  }
  return model.pack_answers(sequences, prompt_lengths);
}

}  // namespace clara::testing
