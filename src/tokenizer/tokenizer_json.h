// Reads tokenizer.json of a BPE or WordPiece tokenizer into plain values; refuses what is not
// supported.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_pair_merges.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/text_normalizer.h"
#include "tokenizer/token_decoder.h"

#include "clara/tokenizer/sequence_template.h"

namespace clara {

enum class TokenModel { kBpe, kWordPiece };

/// What tokenizer.json says.
struct TokenizerFile {
  TokenModel model = TokenModel::kBpe;
  std::unordered_map<std::string, TokenId> vocabulary;  ///< without added tokens that are not in it
  std::vector<Merge> merges;                            ///< in order of rank
  bool is_byte_level = false;  ///< the last cut step is ByteLevel; else symbols are characters
  bool byte_fallback = false;
  bool ignore_merges = false;
  std::string word_prefix;              ///< "continuing_subword_prefix"
  std::string word_suffix;              ///< "end_of_word_suffix"
  BytePairMerges::Unknown unknown;      ///< always there in a WordPiece model
  std::size_t max_word_characters = 0;  ///< WordPiece: longer words are unknown
  std::vector<NormalizeStep> normalize_steps;
  std::vector<CutStep> cut_steps;
  std::vector<DecodeStep> decode_steps;
  std::vector<AddedToken> added_tokens;      ///< in the file's order
  std::optional<SequenceTemplate> sequence;  ///< WordPiece: what the post-processor adds
};

/// Throws DataError that names the file and the member. "truncation" and "padding" are settings of
/// batches, and the post-processor of a BPE tokenizer only adds special tokens and offsets: none of
/// them has a meaning for Tokenizer::encode, so they are not read.
TokenizerFile read_tokenizer_json(const std::filesystem::path& file);

}  // namespace clara
