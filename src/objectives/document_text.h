// The text in a compressor input.
#pragma once

#include "clara/data/example.h"

namespace clara {

/// The text tokens of a compressor input: without the added tokens (from `vocab_rows` on) and,
/// where they are there, without BOS and EOS (text never holds control tokens, so an EOS in the
/// last place is the template's).
inline TokenIds document_text(const TokenIds& document, TokenId vocab_rows, TokenId bos_id,
                              TokenId eos_id) {
  TokenIds text;
  for (const TokenId id : document) {
    if (id < vocab_rows) text.push_back(id);
  }
  if (!text.empty() && text.front() == bos_id) text.erase(text.begin());
  if (!text.empty() && text.back() == eos_id) text.pop_back();
  return text;
}

}  // namespace clara
