// Finds the added tokens of a tokenizer in text (tokenizer.json "added_tokens").
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/split_pattern.h"

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// One entry of "added_tokens".
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool special = false;
  bool single_word = false;  ///< not beside a word character
  bool lstrip = false;       ///< takes the white space before it
  bool rstrip = false;       ///< takes the white space after it
  bool normalized = false;   ///< sought in normalized text, in normalized spelling
};

/// A set of added tokens that are sought together: leftmost first, of those the longest.
class AddedTokenFinder {
 public:
  /// `spellings[i]` is what `tokens[i]` is sought as; not empty. Of equal spellings the first
  /// counts.
  AddedTokenFinder(std::vector<AddedToken> tokens, const std::vector<std::string>& spellings);
  /// Each token is sought as its own content.
  explicit AddedTokenFinder(const std::vector<AddedToken>& tokens);

  /// A range of the text; `id` is -1 for text between tokens.
  struct Piece {
    TextRange range;
    TokenId id = -1;
  };

  /// Replaces `pieces` by the pieces of `text` (valid UTF-8). Special tokens are left in the text
  /// with kAsText.
  void split(std::string_view text, SpecialTokenText special, std::vector<Piece>& pieces) const;

  bool empty() const { return tokens_.empty(); }

 private:
  struct Node {
    std::vector<std::pair<unsigned char, std::uint32_t>> children;  ///< sorted by byte
    std::int32_t token = -1;
  };
  // The longest token that starts at `at`: its index and end; index -1 if there is none.
  std::pair<std::int32_t, std::size_t> longest_at(std::string_view text, std::size_t at) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<bool, 256> starts_{};
};

}  // namespace clara
