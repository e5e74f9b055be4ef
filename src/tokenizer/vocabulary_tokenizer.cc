// The table of tokens by id and by content.
#include "tokenizer/vocabulary_tokenizer.h"

#include "clara/common/error.h"

namespace clara {

std::string VocabularyTokenizer::decode(const TokenIds& ids, bool skip_special) const {
  std::vector<std::string> spelled;
  spelled.reserve(ids.size());
  for (TokenId id : ids) {
    const Token* token = find_token(id);
    if (token && !(skip_special && token->special)) spelled.push_back(token->content);
  }
  return decoder_.decode(std::move(spelled));
}

std::optional<TokenId> VocabularyTokenizer::token_to_id(std::string_view token) const {
  auto it = ids_.find(std::string(token));
  return it == ids_.end() ? std::nullopt : std::optional(it->second);
}

std::string VocabularyTokenizer::id_to_token(TokenId id) const {
  const Token* token = find_token(id);
  return token ? token->content : std::string();
}

bool VocabularyTokenizer::is_special(TokenId id) const {
  const Token* token = find_token(id);
  return token && token->special;
}

AbsorbedSpace VocabularyTokenizer::absorbs(TokenId id) const {
  const Token* token = find_token(id);
  return token ? token->absorbs : AbsorbedSpace{};
}

void VocabularyTokenizer::add_token(const std::string& content, TokenId id) {
  const auto index = static_cast<std::size_t>(id);
  if (index >= tokens_.size()) tokens_.resize(index + 1);
  tokens_[index].content = content;
  tokens_[index].exists = true;
  ids_[content] = id;
}

void VocabularyTokenizer::add_token(const AddedToken& added) {
  add_token(added.content, added.id);
  Token& token = tokens_[static_cast<std::size_t>(added.id)];
  token.special = added.special;
  token.absorbs = {added.lstrip, added.rstrip};
}

void VocabularyTokenizer::set_bos_and_eos(const std::filesystem::path& folder,
                                          const std::string& bos, const std::string& eos) {
  bos_id_ = named_token(folder, "bos_token", bos);
  eos_id_ = named_token(folder, "eos_token", eos);
}

const VocabularyTokenizer::Token* VocabularyTokenizer::find_token(TokenId id) const {
  if (id < 0 || id >= size()) return nullptr;
  const Token& token = tokens_[static_cast<std::size_t>(id)];
  return token.exists ? &token : nullptr;
}

std::optional<TokenId> VocabularyTokenizer::named_token(const std::filesystem::path& folder,
                                                        const std::string& name,
                                                        const std::string& content) const {
  if (content.empty()) return std::nullopt;
  const auto id = token_to_id(content);
  if (!id) {
    throw DataError(folder.string() + ": " + name + " of tokenizer_config.json or " +
                    "special_tokens_map.json is \"" + content +
                    "\", which the tokenizer does not have");
  }
  return id;
}

}  // namespace clara
