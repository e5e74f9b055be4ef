// SentencePiece models (tokenizer.model of Llama 2, Mistral, Phi-3), encoded by libsentencepiece.
#pragma once

#include <filesystem>
#include <memory>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Opens tokenizer.model of `folder`. Added tokens are those of tokenizer_config.json
/// ("added_tokens_decoder"), else of added_tokens.json, and the named special tokens; the text
/// between them is encoded by SentencePiece as Hugging Face's Llama tokenizers do: with "legacy"
/// (the default) each such text gets the model's blank in front, without it only the first of a
/// sequence, unless it starts with a blank; "add_prefix_space": false takes it away. Control pieces
/// are special tokens. BOS and EOS are those that the files name, else the model's own. The
/// tokenizer may be used by several threads at once. Throws DataError that names the file and what
/// is wrong.
std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::filesystem::path& folder);

}  // namespace clara
