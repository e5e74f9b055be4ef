// Document frequencies of tokens.
#include "clara/objectives/token_idf.h"

#include <algorithm>
#include <cmath>

#include "objectives/document_text.h"

namespace clara {

TokenIdf::TokenIdf(TokenId vocab_rows, TokenId bos_id, TokenId eos_id)
    : bos_id_(bos_id), eos_id_(eos_id), num_holders_(static_cast<std::size_t>(vocab_rows)) {}

void TokenIdf::add(const TokenIds& document) {
  TokenIds text =
      document_text(document, static_cast<TokenId>(num_holders_.size()), bos_id_, eos_id_);
  std::sort(text.begin(), text.end());
  text.erase(std::unique(text.begin(), text.end()), text.end());
  for (const TokenId id : text) ++num_holders_[static_cast<std::size_t>(id)];
  ++num_documents_;
}

std::vector<float> TokenIdf::weights() const {
  std::vector<float> weights;
  weights.reserve(num_holders_.size());
  for (const std::int64_t holders : num_holders_) {
    const auto n = static_cast<double>(holders);
    weights.push_back(static_cast<float>(
        std::log1p((static_cast<double>(num_documents_) - n + 0.5) / (n + 0.5))));
  }
  return weights;
}

}  // namespace clara
