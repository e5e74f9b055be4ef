// The BPE tokenizer: added tokens, normalization, cutting into words, merging.
#include "clara/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <utility>

#include "tokenizer/added_tokens.h"
#include "tokenizer/byte_alphabet.h"
#include "tokenizer/byte_pair_merges.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/text_normalizer.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/unicode_text.h"
#include "tokenizer/vocabulary_tokenizer.h"

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

// What SentencePiece writes for a blank.
constexpr std::string_view kBlankMark = "\u2581";

BytePairMerges::SymbolIds symbol_ids(const TokenizerFile& file) {
  auto id_of = [&](const std::string& token) {
    auto it = file.vocabulary.find(token);
    return it == file.vocabulary.end() ? BytePairMerges::kNoToken : it->second;
  };
  if (file.is_byte_level) {
    BytePairMerges::ByteIds ids;
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::string& character = byte_character(static_cast<std::uint8_t>(byte));
      ids.inner[byte] = id_of(file.word_prefix + character);
      ids.first[byte] = id_of(character);
      ids.last[byte] = id_of(file.word_prefix + character + file.word_suffix);
      ids.only[byte] = id_of(character + file.word_suffix);
    }
    return ids;
  }
  BytePairMerges::CharacterIds ids;
  for (const auto& [token, id] : file.vocabulary) {
    if (token.empty()) continue;
    const Scalar c = first_scalar(token);
    if (c.size == token.size()) ids.characters.emplace(c.value, id);
  }
  for (std::size_t byte = 0; byte < 256; ++byte) {
    ids.bytes[byte] = file.byte_fallback ? id_of(byte_token(static_cast<std::uint8_t>(byte)))
                                         : BytePairMerges::kNoToken;
  }
  return ids;
}

BytePairMerges make_merges(const TokenizerFile& file) {
  std::unordered_map<std::string, TokenId> whole_words;
  if (file.ignore_merges) {
    for (const auto& [token, id] : file.vocabulary) {
      if (!file.is_byte_level) {
        whole_words.emplace(token, id);
      } else if (auto bytes = bytes_of_token(token)) {
        whole_words.emplace(std::move(*bytes), id);
      }
    }
  }
  return {symbol_ids(file), file.unknown, file.merges, std::move(whole_words)};
}

// Whether text may be cut before every blank mark that follows another character, and merged part
// by part, without a change of its ids: no merge makes a token that reaches over such a place.
bool words_are_independent(const TokenizerFile& file) {
  if (file.is_byte_level || file.ignore_merges) return false;
  // Characters that are left out would bring their neighbours together, and unknown ones could fuse
  // over a blank mark that is unknown itself.
  if (file.unknown.id == BytePairMerges::kNoToken) return false;
  if (!file.vocabulary.contains(std::string(kBlankMark))) return false;
  std::unordered_map<TokenId, std::string_view> contents;
  for (const auto& [token, id] : file.vocabulary) contents.emplace(id, token);
  return std::all_of(file.merges.begin(), file.merges.end(), [&](const Merge& merge) {
    const std::string_view token = contents.at(merge.merged);
    std::size_t end = 0;  // of the blank marks that open the token
    while (token.substr(end).starts_with(kBlankMark)) end += kBlankMark.size();
    return token.find(kBlankMark, end) == std::string_view::npos;
  });
}

// The added tokens sought in text as given (false) or in normalized text (true); special ones
// first, as Hugging Face orders them, which decides between equal spellings.
AddedTokenFinder make_finder(const TokenizerFile& file, const TextNormalizer& normalizer,
                             bool normalized) {
  MatchMemory memory;
  std::vector<AddedToken> tokens;
  std::vector<std::string> spellings;
  for (bool special : {true, false}) {
    for (const AddedToken& token : file.added_tokens) {
      if (token.special != special || token.normalized != normalized) continue;
      tokens.push_back(token);
      spellings.push_back(normalized ? normalizer.apply(token.content, memory) : token.content);
    }
  }
  return {std::move(tokens), spellings};
}

class BpeTokenizer : public VocabularyTokenizer {
 public:
  BpeTokenizer(TokenizerFile file, const std::filesystem::path& folder)
      : VocabularyTokenizer(std::move(file.decode_steps)),
        normalizer_(std::move(file.normalize_steps)),
        as_given_(make_finder(file, normalizer_, false)),
        in_normalized_(make_finder(file, normalizer_, true)),
        merges_(make_merges(file)),
        words_are_independent_(words_are_independent(file)),
        cutter_(std::move(file.cut_steps)) {
    for (const auto& [content, id] : file.vocabulary) add_token(content, id);
    for (const AddedToken& added : file.added_tokens) add_token(added);
    set_bos_and_eos(folder, read_named_token(folder, "bos_token").value_or(""),
                    read_named_token(folder, "eos_token").value_or(""));
  }

  TokenIds encode(std::string_view text, SpecialTokenText special, TextPlace place) const override {
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
        continue;
      }
      const bool at_start = place == TextPlace::kStart && piece.range.begin == 0;
      encode_normalizable(slice(text, piece.range), at_start, special, *memory, ids);
    }
    return ids;
  }

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

  void encode_normalizable(std::string_view text, bool at_start, SpecialTokenText special,
                           Memory& memory, TokenIds& ids) const {
    std::string normalized;
    if (!normalizer_.empty()) {
      normalized = normalizer_.apply(text, memory.cutting.matching);
      text = normalized;
    }
    if (in_normalized_.empty()) {
      encode_words(text, at_start, memory, ids);
      return;
    }
    in_normalized_.split(text, special, memory.normalized_pieces);
    for (const auto& piece : memory.normalized_pieces) {
      if (piece.id >= 0) {
        ids.push_back(piece.id);
      } else {
        encode_words(slice(text, piece.range), at_start && piece.range.begin == 0, memory, ids);
      }
    }
  }

  void encode_words(std::string_view text, bool at_start, Memory& memory, TokenIds& ids) const {
    cutter_.cut(text, at_start, memory.cutting, [&](std::string_view word) {
      if (words_are_independent_) {
        encode_parts(word, memory, ids);
      } else {
        merges_.encode(word, memory.merging, ids);
      }
    });
  }

  // Merges part by part, each beginning with the blank marks before a word: much shorter than the
  // whole, and most of them in the cache of words.
  void encode_parts(std::string_view word, Memory& memory, TokenIds& ids) const {
    while (!word.empty()) {
      std::size_t end = 0;
      while (word.substr(end).starts_with(kBlankMark)) end += kBlankMark.size();
      end = std::min(word.find(kBlankMark, end), word.size());
      merges_.encode(word.substr(0, end), memory.merging, ids);
      word.remove_prefix(end);
    }
  }

  TextNormalizer normalizer_;
  AddedTokenFinder as_given_;
  AddedTokenFinder in_normalized_;
  BytePairMerges merges_;
  bool words_are_independent_;
  PreTokenizer cutter_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> free_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_bpe_tokenizer(const std::filesystem::path& folder) {
  return std::make_unique<BpeTokenizer>(read_tokenizer_json(folder / "tokenizer.json"), folder);
}

}  // namespace clara
