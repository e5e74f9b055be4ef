// What every tokenizer with a table of tokens has in common: look-up, flags, decoding.
#pragma once

#include <filesystem>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/token_decoder.h"

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// All of a Tokenizer but encoding. Constructors of derived classes fill the table.
class VocabularyTokenizer : public Tokenizer {
 public:
  std::string decode(const TokenIds& ids, bool skip_special) const override;
  TokenId size() const override { return static_cast<TokenId>(tokens_.size()); }
  std::optional<TokenId> token_to_id(std::string_view token) const override;
  std::string id_to_token(TokenId id) const override;
  bool is_special(TokenId id) const override;
  AbsorbedSpace absorbs(TokenId id) const override;
  std::optional<TokenId> bos_id() const override { return bos_id_; }
  std::optional<TokenId> eos_id() const override { return eos_id_; }

 protected:
  explicit VocabularyTokenizer(std::vector<DecodeStep> decode_steps)
      : decoder_(std::move(decode_steps)) {}

  void add_token(const std::string& content, TokenId id);
  void add_token(const AddedToken& added);
  /// Finds BOS and EOS by their contents, empty for none. Throws DataError for a token
  /// that the table lacks.
  void set_bos_and_eos(const std::filesystem::path& folder, const std::string& bos,
                       const std::string& eos);

 private:
  struct Token {
    std::string content;
    bool exists = false;
    bool special = false;
    AbsorbedSpace absorbs;
  };

  const Token* find_token(TokenId id) const;
  std::optional<TokenId> named_token(const std::filesystem::path& folder, const std::string& name,
                                     const std::string& content) const;

  TokenDecoder decoder_;
  std::vector<Token> tokens_;  // by id
  std::unordered_map<std::string, TokenId> ids_;
  std::optional<TokenId> bos_id_;
  std::optional<TokenId> eos_id_;
};

}  // namespace clara
