// A row as token ids: what collation and the objectives work on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// One training or evaluation row as token ids (numerics §3, §4).
struct Example {
  /// Compressor inputs, one a document: <ENC> BOS text EOS, cut to doc_max_tokens + 3, then M
  /// memory tokens.
  std::vector<TokenIds> documents;
  /// Query reasoner input, built the same way; empty in scp and tune.
  TokenIds question;
  /// Generator input: prompt, answer, end of turn. Memory tokens of the S prompt documents stand in
  /// order.
  TokenIds tokens;
  /// tokens[prompt_length:] carry loss (position t is predicted at t - 1)
  std::int32_t prompt_length = 0;
  std::int32_t num_slots = 0;           ///< S: documents in the prompt
  std::vector<std::int32_t> positives;  ///< indices into documents
  std::string place;                    ///< "file:line", for messages
  std::int32_t num_cut_documents = 0;   ///< documents longer than doc_max_tokens, cut on the right
  std::int32_t num_dropped_documents = 0;  ///< tune: documents of the row behind the first S
  bool cut_question = false;  ///< the question was longer than doc_max_tokens, cut on the right
  bool cut_answer = false;    ///< the answer was cut by max_sequence_tokens

  std::int64_t num_answer_tokens() const {
    return static_cast<std::int64_t>(tokens.size()) - prompt_length;
  }
};

}  // namespace clara
