// Inverse document frequencies of tokens, by which the warm-up term weighs what a document says.
#pragma once

#include <cstdint>
#include <vector>

#include "clara/data/example.h"

namespace clara {

/// Counts in how many documents each token stands.
class TokenIdf {
 public:
  /// `vocab_rows`: V; `bos_id`, `eos_id`: around the text of compressor inputs, -1 where there is
  /// none.
  TokenIdf(TokenId vocab_rows, TokenId bos_id, TokenId eos_id);

  /// `document`: a compressor input (Example::documents).
  void add(const TokenIds& document);
  std::int64_t num_documents() const { return num_documents_; }
  /// [V] ln(1 + (N − n + ½) / (n + ½)) of a token that n of the N documents hold: above 0, BM25's.
  std::vector<float> weights() const;

 private:
  TokenId bos_id_, eos_id_;
  std::int64_t num_documents_ = 0;
  std::vector<std::int64_t> num_holders_;  // [V]
};

}  // namespace clara
