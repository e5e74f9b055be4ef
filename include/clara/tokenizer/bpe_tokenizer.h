// BPE tokenizers as tokenizer.json describes them: byte-level (SmolLM2, GPT-2, Llama 3, Qwen,
// Phi-4) and of characters, as SentencePiece's become (Llama 2, Mistral, Phi-3, Gemma).
#pragma once

#include <filesystem>
#include <memory>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Opens tokenizer.json of `folder`: a BPE model with the normalizers NFC, Prepend and Replace, the
/// pre-tokenizers ByteLevel, Metaspace, Digits and Split, the decoders ByteLevel, Replace,
/// ByteFallback, Fuse, Strip and Metaspace, each with Sequences of them. Its ids equal those of
/// Hugging Face tokenizers 0.22 with add_special_tokens=False; truncation, padding and the
/// post-processor have no part in that and are not read. BOS and EOS are those of
/// tokenizer_config.json, else of special_tokens_map.json. The tokenizer may be used by several
/// threads at once. Throws DataError that names the file and the member that is missing, wrong or
/// not supported.
std::unique_ptr<Tokenizer> load_bpe_tokenizer(const std::filesystem::path& folder);

}  // namespace clara
