// The byte-level BPE tokenizer: added tokens, normalization, cutting into words, merging.
#include "clara/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <mutex>
#include <utility>

#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/byte_pair_merges.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/unicode_text.h"

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

// A token that is in the vocabulary, added, or both.
struct Token {
  std::string content;
  std::string bytes;  ///< what it decodes to
  bool exists = false;
  bool special = false;
  AbsorbedSpace absorbs;
};

BytePairMerges make_merges(const TokenizerFile& file) {
  BytePairMerges::ByteIds ids;
  auto id_of = [&](const std::string& token) {
    auto it = file.vocabulary.find(token);
    return it == file.vocabulary.end() ? BytePairMerges::kNoToken : it->second;
  };
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string& character = byte_character(static_cast<std::uint8_t>(byte));
    ids.inner[byte] = id_of(file.word_prefix + character);
    ids.first[byte] = id_of(character);
    ids.last[byte] = id_of(file.word_prefix + character + file.word_suffix);
    ids.only[byte] = id_of(character + file.word_suffix);
  }
  std::unordered_map<std::string, TokenId> whole_words;
  if (file.ignore_merges) {
    for (const auto& [token, id] : file.vocabulary) {
      if (auto bytes = bytes_of_token(token)) whole_words.emplace(std::move(*bytes), id);
    }
  }
  return {ids, file.unknown, file.merges, std::move(whole_words)};
}

// The added tokens sought in text as given (false) or in normalized text (true); special ones
// first, as Hugging Face orders them, which decides between equal spellings.
AddedTokenFinder make_finder(const TokenizerFile& file, bool normalized) {
  std::vector<AddedToken> tokens;
  std::vector<std::string> spellings;
  for (bool special : {true, false}) {
    for (const AddedToken& token : file.added_tokens) {
      if (token.special != special || token.normalized != normalized) continue;
      tokens.push_back(token);
      spellings.push_back(normalized && file.normalize_nfc ? normalize_nfc(token.content)
                                                           : token.content);
    }
  }
  return {std::move(tokens), spellings};
}

class BpeTokenizer : public Tokenizer {
 public:
  BpeTokenizer(TokenizerFile file, const std::filesystem::path& folder)
      : as_given_(make_finder(file, false)),
        in_normalized_(make_finder(file, true)),
        normalize_(file.normalize_nfc),
        merges_(make_merges(file)),
        cutter_(std::move(file.cut_steps)) {
    for (const auto& [content, id] : file.vocabulary) add_token(content, id);
    for (const AddedToken& added : file.added_tokens) {
      add_token(added.content, added.id);
      Token& token = tokens_[static_cast<std::size_t>(added.id)];
      token.special = added.special;
      token.absorbs = {added.lstrip, added.rstrip};
    }
    bos_id_ = named_token(folder, "bos_token");
    eos_id_ = named_token(folder, "eos_token");
  }

  TokenIds encode(std::string_view text, SpecialTokenText special) const override {
    if (auto offset = find_invalid_utf8(text)) {
      throw DataError("expected UTF-8 text, found an invalid byte at offset " +
                      std::to_string(*offset) + " of " + std::to_string(text.size()));
    }
    const Lease memory(*this);
    TokenIds ids;
    ids.reserve(text.size() / 4 + 1);
    as_given_.split(text, special, memory->pieces);
    for (const auto& piece : memory->pieces) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else {
        encode_normalizable(slice(text, piece.range), special, *memory, ids);
      }
    }
    return ids;
  }

  std::string decode(const TokenIds& ids, bool skip_special) const override {
    std::string bytes;
    for (TokenId id : ids) {
      const Token* token = find_token(id);
      if (token && !(skip_special && token->special)) bytes += token->bytes;
    }
    return utf8_or_replacement(bytes);
  }

  TokenId size() const override { return static_cast<TokenId>(tokens_.size()); }

  std::optional<TokenId> token_to_id(std::string_view token) const override {
    auto it = ids_.find(std::string(token));
    return it == ids_.end() ? std::nullopt : std::optional(it->second);
  }

  std::string id_to_token(TokenId id) const override {
    const Token* token = find_token(id);
    return token ? token->content : std::string();
  }

  bool is_special(TokenId id) const override {
    const Token* token = find_token(id);
    return token && token->special;
  }

  AbsorbedSpace absorbs(TokenId id) const override {
    const Token* token = find_token(id);
    return token ? token->absorbs : AbsorbedSpace{};
  }

  std::optional<TokenId> bos_id() const override { return bos_id_; }
  std::optional<TokenId> eos_id() const override { return eos_id_; }

 private:
  // Scratch of one call of encode.
  struct Memory {
    std::vector<AddedTokenFinder::Piece> pieces;
    std::vector<AddedTokenFinder::Piece> normalized_pieces;
    CutMemory cutting;
    MergeMemory merging;
  };

  // Takes a Memory that no other thread uses and gives it back: as many exist as threads have been
  // in encode at the same time, and the word caches stay warm.
  class Lease {
   public:
    explicit Lease(const BpeTokenizer& owner) : owner_(owner) {
      {
        const std::lock_guard lock(owner.mutex_);
        if (!owner.free_.empty()) {
          memory_ = std::move(owner.free_.back());
          owner.free_.pop_back();
        }
      }
      if (!memory_) memory_ = std::make_unique<Memory>();
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease() {
      const std::lock_guard lock(owner_.mutex_);
      owner_.free_.push_back(std::move(memory_));
    }
    Memory& operator*() const { return *memory_; }
    Memory* operator->() const { return memory_.get(); }

   private:
    const BpeTokenizer& owner_;
    std::unique_ptr<Memory> memory_;
  };

  static std::string_view slice(std::string_view text, TextRange range) {
    return text.substr(range.begin, range.end - range.begin);
  }

  void add_token(const std::string& content, TokenId id) {
    const auto index = static_cast<std::size_t>(id);
    if (index >= tokens_.size()) tokens_.resize(index + 1);
    tokens_[index].content = content;
    tokens_[index].bytes = bytes_of_token(content).value_or(content);
    tokens_[index].exists = true;
    ids_[content] = id;
  }

  const Token* find_token(TokenId id) const {
    if (id < 0 || id >= size()) return nullptr;
    const Token& token = tokens_[static_cast<std::size_t>(id)];
    return token.exists ? &token : nullptr;
  }

  std::optional<TokenId> named_token(const std::filesystem::path& folder,
                                     const std::string& name) const {
    const std::string token = read_named_token(folder, name);
    if (token.empty()) return std::nullopt;
    const auto id = token_to_id(token);
    if (!id) {
      throw DataError(folder.string() + ": " + name + " of tokenizer_config.json or " +
                      "special_tokens_map.json is \"" + token +
                      "\", which tokenizer.json does not have");
    }
    return id;
  }

  void encode_normalizable(std::string_view text, SpecialTokenText special, Memory& memory,
                           TokenIds& ids) const {
    std::string normalized;
    if (normalize_) {
      normalized = normalize_nfc(text);
      text = normalized;
    }
    if (in_normalized_.empty()) {
      encode_words(text, memory, ids);
      return;
    }
    in_normalized_.split(text, special, memory.normalized_pieces);
    for (const auto& piece : memory.normalized_pieces) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else {
        encode_words(slice(text, piece.range), memory, ids);
      }
    }
  }

  void encode_words(std::string_view text, Memory& memory, TokenIds& ids) const {
    cutter_.cut(text, memory.cutting,
                [&](std::string_view word) { merges_.encode(word, memory.merging, ids); });
  }

  AddedTokenFinder as_given_;
  AddedTokenFinder in_normalized_;
  bool normalize_;
  BytePairMerges merges_;
  PreTokenizer cutter_;
  std::vector<Token> tokens_;  // by id
  std::unordered_map<std::string, TokenId> ids_;
  std::optional<TokenId> bos_id_;
  std::optional<TokenId> eos_id_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> free_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_bpe_tokenizer(const std::filesystem::path& folder) {
  return std::make_unique<BpeTokenizer>(read_tokenizer_json(folder / "tokenizer.json"), folder);
}

}  // namespace clara
