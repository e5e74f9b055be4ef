// The tokenizer of XLM-RoBERTa's family (BGE-M3, BGE's rerankers): a SentencePiece
// model whose ids are moved.
#pragma once

#include <filesystem>

#include "clara/tokenizer/encoder_tokenizer.h"

namespace clara {

/// Opens sentencepiece.bpe.model of `folder`. Ids are those of transformers: `<s>`, `<pad>`, `</s>`
/// and `<unk>` are 0 to 3, every other piece has its number in the model plus 1, `<mask>` comes
/// last. Text that spells one of these is read as it. Throws DataError that names the file where it
/// is missing, damaged, or has no `<unk>`, `<s>`, `</s>` as its first pieces.
EncoderTokenizer load_xlm_roberta_tokenizer(const std::filesystem::path& folder);

}  // namespace clara
