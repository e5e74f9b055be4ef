// Byte-pair merging of one word: from bytes or characters to the ids of a BPE vocabulary.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// The pair (left, right) becomes `merged`; of the pairs of a word the lowest rank is merged first.
struct Merge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId merged = 0;
};

/// Scratch memory and word cache of one thread that merges. The cache is bounded: a word takes the
/// slot that its hash names and drives out the word that was there.
class MergeMemory {
 public:
  MergeMemory() : slots_(kNumSlots) {}

 private:
  friend class BytePairMerges;
  static constexpr std::size_t kNumSlots = std::size_t{1} << 15;
  static constexpr std::size_t kMaxWordBytes = 30;
  static constexpr std::size_t kMaxWordIds = 8;
  struct Slot {
    std::uint8_t num_bytes = 0;  // 0: empty
    std::uint8_t num_ids = 0;
    std::array<char, kMaxWordBytes> bytes;
    std::array<TokenId, kMaxWordIds> ids;
  };
  struct Symbol {
    TokenId id = 0;
    std::int32_t previous = -1;
    std::int32_t next = -1;
  };
  struct Candidate {
    std::uint32_t rank = 0;
    std::int32_t position = 0;
    TokenId merged = 0;
  };
  std::vector<Slot> slots_;
  std::vector<TokenId> ids_;
  std::vector<std::uint32_t> ranks_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

/// The merges of a vocabulary.
class BytePairMerges {
 public:
  static constexpr TokenId kNoToken = -1;
  /// Ids of single bytes, by the place of the byte in its word; kNoToken: not in the vocabulary.
  struct ByteIds {
    std::array<TokenId, 256> inner{};  ///< neither first nor last
    std::array<TokenId, 256> first{};
    std::array<TokenId, 256> last{};
    std::array<TokenId, 256> only{};
  };
  /// Ids of single characters, of a vocabulary that is not byte-level.
  struct CharacterIds {
    std::unordered_map<char32_t, TokenId> characters;
    /// Tokens of bytes, for the bytes of characters that the vocabulary lacks ("byte_fallback").
    /// Used for a character only if each of its bytes has one.
    std::array<TokenId, 256> bytes{};
  };
  using SymbolIds = std::variant<ByteIds, CharacterIds>;
  struct Unknown {
    /// For a byte or character that the vocabulary lacks; kNoToken: it is left out.
    TokenId id = kNoToken;
    bool fuse = false;  ///< one for a run of them
  };

  /// `merges` in order of rank; of equal pairs the last counts. `whole_words` are words (as bytes)
  /// that become their id without merging ("ignore_merges").
  BytePairMerges(SymbolIds symbol_ids, Unknown unknown, const std::vector<Merge>& merges,
                 std::unordered_map<std::string, TokenId> whole_words);

  /// Appends the ids of `word` (not empty; with CharacterIds valid UTF-8). Time grows with n log n
  /// of its bytes at most.
  void encode(std::string_view word, MergeMemory& memory, TokenIds& ids) const;

 private:
  static constexpr std::uint32_t kNoRank = 0xFFFFFFFF;
  struct Entry {
    std::uint64_t pair = kEmpty;
    std::uint32_t rank = kNoRank;
    TokenId merged = kNoToken;
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};
  static std::uint64_t pack(TokenId left, TokenId right);
  std::size_t slot_of(std::uint64_t pair) const;
  const Entry* find(TokenId left, TokenId right) const;
  std::uint32_t rank_of(TokenId left, TokenId right) const;

  void merge_word(std::string_view word, MergeMemory& memory, TokenIds& ids) const;
  // Replace `symbols` by the symbols of a word before any merge.
  void find_symbols(std::string_view word, const ByteIds& byte_ids,
                    std::vector<TokenId>& symbols) const;
  void find_symbols(std::string_view word, const CharacterIds& character_ids,
                    std::vector<TokenId>& symbols) const;
  void merge_short(MergeMemory& memory) const;
  void merge_long(MergeMemory& memory) const;
  void push_candidate(MergeMemory& memory, std::int32_t position) const;

  SymbolIds symbol_ids_;
  Unknown unknown_;
  std::vector<Entry> table_;  // open addressing, a power of two of entries
  int shift_ = 0;
  std::unordered_map<std::string, TokenId> whole_words_;
};

}  // namespace clara
