// What an encoder's tokenizer puts around one text or two: [CLS] A [SEP] B [SEP], with type ids.
#pragma once

#include <cstdint>
#include <vector>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Tokens of one input of an encoder; `types[i]` says which text `ids[i]` belongs to.
struct TypedTokens {
  TokenIds ids;
  std::vector<std::int32_t> types;
};

/// Which text of a pair that is too long loses tokens from its end.
enum class PairTruncation {
  kLongestFirst,  ///< the longer one, then both in turn
  kOnlySecond,    ///< the second; an Error where that is not enough
};

/// The post-processor of a tokenizer.json as data. Results equal those of Hugging Face tokenizers
/// with truncation to `max_tokens`.
class SequenceTemplate {
 public:
  struct Piece {
    enum class Kind { kToken, kFirst, kSecond };
    Kind kind = Kind::kToken;
    TokenId id = 0;  ///< kToken
    std::int32_t type = 0;
  };

  /// Throws ConfigError unless `single` has the first text once and no second, and `pair` each of
  /// them once.
  SequenceTemplate(std::vector<Piece> single, std::vector<Piece> pair);

  /// Tokens around one text.
  std::int64_t num_added_to_single() const;
  /// Tokens around a pair.
  std::int64_t num_added_to_pair() const;
  /// One more than the largest type id.
  std::int32_t num_types() const;

  /// At most `max_tokens` tokens, those that are added included. Throws ConfigError where these
  /// alone are more.
  TypedTokens apply(const TokenIds& text, std::int64_t max_tokens) const;
  TypedTokens apply(const TokenIds& first, const TokenIds& second, std::int64_t max_tokens,
                    PairTruncation truncation) const;

 private:
  std::vector<Piece> single_;
  std::vector<Piece> pair_;
};

/// [CLS] A [SEP] with type 0, then B [SEP] with type 1.
SequenceTemplate bert_sequence_template(TokenId cls, TokenId sep);
/// `<s> A </s>`, and `<s> A </s></s> B </s>`, all of type 0.
SequenceTemplate roberta_sequence_template(TokenId bos, TokenId eos);

}  // namespace clara
