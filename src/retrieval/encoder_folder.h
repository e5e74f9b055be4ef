// What a Hugging Face folder says about an encoder: config.json, and the files of
// sentence-transformers beside it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "clara/retrieval/text_encoder.h"

namespace clara {

/// The architecture of a BERT model, or of XLM-RoBERTa, whose layers are the same.
struct BertConfig {
  bool is_xlm_roberta = false;
  std::int64_t hidden_size = 0;
  std::int64_t intermediate_size = 0;
  std::int64_t num_layers = 0;
  std::int64_t num_heads = 0;
  std::int64_t vocab_rows = 0;
  std::int64_t max_positions = 0;  ///< of an input
  std::int64_t first_position =
      0;  ///< row of the first token's position; RoBERTa: behind that of <pad>
  std::int64_t num_types = 0;
  double layer_norm_eps = 1e-12;

  std::int64_t head_dim() const { return hidden_size / num_heads; }
};

struct EncoderFolder {
  std::filesystem::path folder;  ///< with config.json, the weights and the tokenizer
  BertConfig model;
  std::optional<Pooling> pooling;  ///< of the module Pooling
  std::int64_t max_tokens = 0;     ///< max_seq_length, else model_max_length, at most max_positions
  bool lowercases_text = false;    ///< do_lower_case of sentence_bert_config.json
  std::string query_prefix;        ///< prompts of config_sentence_transformers.json
  std::string passage_prefix;
};

/// Reads modules.json, 1_Pooling/config.json, sentence_bert_config.json,
/// config_sentence_transformers.json and tokenizer_config.json where they are, and config.json.
/// Throws DataError that names the file and the key of what is missing, wrong or not supported.
EncoderFolder read_encoder_folder(const std::filesystem::path& folder);

}  // namespace clara
