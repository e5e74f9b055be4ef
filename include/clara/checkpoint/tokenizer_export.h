// A tokenizer folder with CLaRa's added tokens, for other programs (numerics §2).
#pragma once

#include <filesystem>

#include "clara/tokenizer/special_tokens.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Copies the tokenizer files of `base_folder` into `folder` and appends <MEM0> … <SEP> at their
/// ids V … V+M+2. Ids from the tokenizer's size to V − 1 are filled with <|clara_unused_i|>, so
/// that transformers numbers the added tokens alike. Of a base that has only tokenizer.model this
/// goes into tokenizer_config.json ("added_tokens_decoder").
void export_tokenizer(const std::filesystem::path& base_folder, const std::filesystem::path& folder,
                      const Tokenizer& tokenizer, const SpecialTokens& added);

}  // namespace clara
