// Candidates in the order of a text encoder: retrieval baselines over a question's own documents.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "clara/eval/eval_settings.h"

namespace clara {

class TextRanker {
 public:
  TextRanker() = default;
  TextRanker(const TextRanker&) = delete;
  TextRanker& operator=(const TextRanker&) = delete;
  virtual ~TextRanker() = default;

  /// A score a document, higher is more relevant. Throws DataError for text that is no UTF-8.
  virtual std::vector<float> scores(const std::string& question,
                                    const std::vector<std::string>& documents) const = 0;
};

/// The encoder of settings.encoder: for `dense` a bi-encoder, scores are cosines; for
/// `cross_encoder` a reranker, scores are its logits. Null for the other selectors. Throws as
/// check_encoder() and TextEncoder do.
std::unique_ptr<const TextRanker> open_text_ranker(const EvalSettings& settings);

}  // namespace clara
