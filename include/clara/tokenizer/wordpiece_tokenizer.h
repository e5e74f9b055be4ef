// WordPiece tokenizers of BERT's family (MiniLM, BGE, E5, GTE), of which the encoders of retrieval
// are made.
#pragma once

#include <filesystem>

#include "clara/tokenizer/encoder_tokenizer.h"

namespace clara {

/// Opens tokenizer.json of `folder`: a WordPiece model with BertNormalizer (and those that BPE
/// models have), BertPreTokenizer, the decoder WordPiece, and TemplateProcessing or BertProcessing
/// around texts. Where there is no tokenizer.json, vocab.txt with tokenizer_config.json
/// ("do_lower_case", "tokenize_chinese_chars", "strip_accents", "added_tokens_decoder" and the
/// named tokens), read as transformers reads them. Ids equal those of Hugging Face tokenizers 0.22.
/// Truncation and padding of tokenizer.json are not read. Throws DataError that names the file and
/// the member that is missing, wrong or not supported.
EncoderTokenizer load_wordpiece_tokenizer(const std::filesystem::path& folder);

}  // namespace clara
