// Tokenizers of what a file says, whatever the file.
#pragma once

#include <filesystem>
#include <memory>

#include "tokenizer/tokenizer_json.h"

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// `folder` is where the files beside the tokenizer are.
std::unique_ptr<Tokenizer> make_bpe_tokenizer(TokenizerFile file,
                                              const std::filesystem::path& folder);
std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(TokenizerFile file,
                                                    const std::filesystem::path& folder);

}  // namespace clara
