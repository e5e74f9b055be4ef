// The tokens CLaRa adds after the base vocabulary (numerics §2).
#pragma once

#include <cstdint>
#include <string>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Ids of the added tokens: <MEM0> … <MEM{M-1}>, <AE>, <ENC>, <SEP> at V … V+M+2, where V is the
/// number of rows of the base embedding (which may exceed the tokenizer's size).
struct SpecialTokens {
  TokenId base_vocab_rows = 0;  ///< V
  std::int32_t num_memory = 0;  ///< M

  TokenId first_memory() const { return base_vocab_rows; }
  TokenId memory(std::int32_t j) const { return base_vocab_rows + j; }
  TokenId ae() const { return base_vocab_rows + num_memory; }
  TokenId enc() const { return ae() + 1; }
  TokenId sep() const { return ae() + 2; }
  /// M + 3.
  std::int32_t count() const { return num_memory + 3; }
  /// V + M + 3.
  TokenId total_rows() const { return base_vocab_rows + count(); }
  bool is_memory(TokenId id) const { return id >= first_memory() && id < ae(); }
  bool is_added(TokenId id) const { return id >= base_vocab_rows && id < total_rows(); }
  /// "<MEM3>", "<SEP>", …; empty for ids that are not added tokens.
  std::string name(TokenId id) const;
};

}  // namespace clara
