// Text to token ids and back, for one vocabulary (numerics §2, §4).
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

using TokenId = std::int32_t;
using TokenIds = std::vector<TokenId>;

/// What to do with text that spells a special (control) token.
enum class SpecialTokenText {
  kParse,   ///< becomes the control token (Hugging Face's default)
  kAsText,  ///< is encoded like any other text (`encode_special_tokens`): for text of users and
            ///< data
};

/// Where a text stands in its sequence. It matters to vocabularies that put a blank before the
/// first word of a sequence and before no other text.
enum class TextPlace {
  kStart,        ///< nothing stands before the text
  kAfterTokens,  ///< control or memory tokens do
};

/// White space around a token's text that belongs to the token (lstrip, rstrip of added tokens).
struct AbsorbedSpace {
  bool before = false;
  bool after = false;
};

/// A tokenizer without the tokens that CLaRa adds: see SpecialTokens for those.
class Tokenizer {
 public:
  Tokenizer() = default;
  Tokenizer(const Tokenizer&) = delete;
  Tokenizer& operator=(const Tokenizer&) = delete;
  virtual ~Tokenizer() = default;

  /// Ids of UTF-8 `text`, no BOS or EOS added. Invalid UTF-8 is a DataError that gives the byte
  /// offset.
  virtual TokenIds encode(std::string_view text, SpecialTokenText special,
                          TextPlace place) const = 0;

  /// The same for text that starts its sequence.
  TokenIds encode(std::string_view text, SpecialTokenText special) const {
    return encode(text, special, TextPlace::kStart);
  }

  /// Text of `ids`; bytes that are no UTF-8 become U+FFFD. `skip_special` leaves special tokens
  /// out. Ids outside the vocabulary (memory tokens, say) are left out.
  virtual std::string decode(const TokenIds& ids, bool skip_special) const = 0;

  /// One more than the largest id, added tokens included (Hugging Face: len(tokenizer)).
  virtual TokenId size() const = 0;

  /// Id of a token by its exact content, vocabulary or added.
  virtual std::optional<TokenId> token_to_id(std::string_view token) const = 0;

  /// The token's content as the vocabulary spells it (byte-level: the mapped characters); empty if
  /// there is none.
  virtual std::string id_to_token(TokenId id) const = 0;

  /// Whether `id` is a special (control) token.
  virtual bool is_special(TokenId id) const = 0;

  /// The white space beside this token's text that encoding in SpecialTokenText::kParse drops.
  virtual AbsorbedSpace absorbs(TokenId) const { return {}; }

  /// Beginning and end of sequence, as tokenizer_config.json names them.
  virtual std::optional<TokenId> bos_id() const = 0;
  virtual std::optional<TokenId> eos_id() const = 0;
};

/// Opens the tokenizer of a Hugging Face folder: tokenizer.json, or without one SentencePiece's
/// tokenizer.model (+ tokenizer_config.json, special_tokens_map.json), or without either BERT's
/// vocab.txt. Throws DataError that names the file and the member that is missing, wrong or not
/// supported.
std::unique_ptr<Tokenizer> load_tokenizer(const std::filesystem::path& folder);

}  // namespace clara
