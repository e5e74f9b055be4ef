// Tokenizers of the encoders of retrieval: of text, with what goes around texts.
#pragma once

#include <memory>

#include "clara/tokenizer/sequence_template.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// A tokenizer of text, and what its encoder expects around texts. May be used by several threads
/// at once.
struct EncoderTokenizer {
  std::unique_ptr<Tokenizer> text;
  SequenceTemplate sequence;
};

}  // namespace clara
