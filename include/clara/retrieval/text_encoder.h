// BERT-family encoders (BGE, MiniLM, E5; BERT and XLM-RoBERTa): text to vectors whose inner product
// is the cosine, and pairs of texts to a score.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"
#include "clara/retrieval/vector_encoder.h"
#include "clara/tokenizer/sequence_template.h"

namespace clara {

/// What becomes of the last layer's states of a text's tokens.
enum class Pooling {
  kCls,   ///< the first token's
  kMean,  ///< the mean of all, [CLS] and [SEP] included
};

/// "cls", "mean".
std::string to_string(Pooling pooling);
/// Throws ConfigError for another name.
Pooling parse_pooling(const std::string& name);

struct EncoderSettings {
  std::optional<Pooling> pooling;  ///< nothing: as 1_Pooling/config.json says
  std::int64_t max_tokens = 0;     ///< longer texts are cut; 0: as the folder says
  /// What goes before every query or passage; nothing: as config_sentence_transformers.json says.
  std::optional<std::string> query_prefix;
  std::optional<std::string> passage_prefix;
  std::int64_t batch_tokens = 2048;  ///< tokens that are computed together; changes speed alone
};

/// A bi-encoder: a Hugging Face folder with model_type bert and a WordPiece tokenizer, or with
/// xlm-roberta and its SentencePiece model. Computes in float32 on the CPU with LibTorch's threads.
/// Texts lie end to end: no padding is ever computed, and a text's vector depends on its neighbours
/// by rounding alone. Special tokens that a text spells are read as such, as sentence-transformers
/// does.
class TextEncoder final : public VectorEncoder {
 public:
  /// Throws DataError for a folder that is incomplete, damaged or not supported, naming the file,
  /// the key or the tensor; ConfigError for settings that do not fit it.
  explicit TextEncoder(const std::filesystem::path& folder, const EncoderSettings& settings = {});
  TextEncoder(TextEncoder&&) noexcept;
  TextEncoder& operator=(TextEncoder&&) noexcept;
  ~TextEncoder() override;

  std::int64_t dimension() const override;
  /// Of weights, tokenizer, pooling, limit, prefix.
  const Hash128& fingerprint() const override;
  EncoderDescription describe() const override;
  const EncoderSettings& settings() const;  ///< as resolved with the folder
  const std::filesystem::path& folder() const;

  torch::Tensor encode_passages(
      const std::vector<std::string>& passages,
      const std::function<void(std::int64_t)>& on_progress = nullptr) const override;
  torch::Tensor encode_queries(const std::vector<std::string>& queries) const override;
  std::int64_t num_cut_passages() const override;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

struct CrossEncoderSettings {
  std::int64_t max_tokens = 0;  ///< of a pair; 0: as the folder says
  PairTruncation truncation = PairTruncation::kLongestFirst;
  std::int64_t batch_tokens = 2048;
};

/// A cross-encoder: BertForSequenceClassification or XLMRobertaForSequenceClassification with one
/// label, as rerankers are (MS-MARCO MiniLM, BGE).
class CrossEncoder {
 public:
  /// Throws as TextEncoder does; DataError for a classifier of several labels.
  explicit CrossEncoder(const std::filesystem::path& folder,
                        const CrossEncoderSettings& settings = {});
  CrossEncoder(CrossEncoder&&) noexcept;
  CrossEncoder& operator=(CrossEncoder&&) noexcept;
  ~CrossEncoder();

  /// A score a passage: the logit, higher is more relevant. Throws DataError for text that is no
  /// UTF-8.
  std::vector<float> scores(const std::string& query,
                            const std::vector<std::string>& passages) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace clara
