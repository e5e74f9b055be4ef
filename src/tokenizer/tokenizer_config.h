// The files that stand beside a tokenizer: tokenizer_config.json, special_tokens_map.json,
// added_tokens.json.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "tokenizer/added_tokens.h"

namespace clara {

/// A token that tokenizer_config.json or else special_tokens_map.json of `folder` names
/// ("bos_token", …), as text or as {"content": text}. "" where tokenizer_config.json says null,
/// nothing where neither file names one. Throws DataError that names the file and the member.
std::optional<std::string> read_named_token(const std::filesystem::path& folder,
                                            const std::string& name);

/// What the files say about a tokenizer.model.
struct SentencePieceConfig {
  bool legacy = true;  ///< every text between added tokens gets a blank in front; else the first
  bool add_prefix_space = true;
  /// In order; an id of -1 means that no file gives one.
  std::vector<AddedToken> added_tokens;
};

/// Reads "legacy", "add_prefix_space", "added_tokens_decoder" (or else added_tokens.json) and the
/// named special tokens. Throws DataError that names the file and the member.
SentencePieceConfig read_sentencepiece_config(const std::filesystem::path& folder);

/// What the files say about a vocab.txt.
struct WordPieceConfig {
  bool lowercase = true;
  bool handle_chinese_chars = true;
  std::optional<bool> strip_accents;  ///< nothing: as lowercase
  std::string unknown = "[UNK]", cls = "[CLS]", sep = "[SEP]";
  /// In order; an id of -1 means that no file gives one.
  std::vector<AddedToken> added_tokens;
};

/// Reads "do_lower_case", "tokenize_chinese_chars", "strip_accents", the added tokens as above, and
/// BERT's own special tokens where no file names others. Throws DataError that names the file and
/// the member, also for "do_basic_tokenize": false.
WordPieceConfig read_wordpiece_config(const std::filesystem::path& folder);

}  // namespace clara
