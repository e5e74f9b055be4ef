// What tokenizers of a tokenizer.json have in common: added tokens, normalization, cutting into
// words; the model makes tokens of the words.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/text_normalizer.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/vocabulary_tokenizer.h"

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {

/// The added tokens of a file that are sought in text as given (false) or in normalized text
/// (true); special ones first, as Hugging Face orders them, which decides between equal spellings.
AddedTokenFinder make_added_token_finder(const TokenizerFile& file,
                                         const TextNormalizer& normalizer, bool normalized);

/// `Model` has a type Memory, scratch of one thread, and
/// void encode(std::string_view word, Memory& memory, TokenIds& ids) const.
template <typename Model>
class PipelineTokenizer : public VocabularyTokenizer {
 public:
  PipelineTokenizer(TokenizerFile file, Model model, const std::filesystem::path& folder)
      : VocabularyTokenizer(std::move(file.decode_steps)),
        normalizer_(std::move(file.normalize_steps)),
        as_given_(make_added_token_finder(file, normalizer_, false)),
        in_normalized_(make_added_token_finder(file, normalizer_, true)),
        model_(std::move(model)),
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
    typename Model::Memory model;
  };

  // Takes a Memory that no other thread uses and gives it back: as many exist as threads have been
  // in encode at the same time, and the caches of models stay warm.
  class Lease {
   public:
    explicit Lease(const PipelineTokenizer& owner) : owner_(owner) {
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
    const PipelineTokenizer& owner_;
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
    cutter_.cut(text, at_start, memory.cutting,
                [&](std::string_view word) { model_.encode(word, memory.model, ids); });
  }

  TextNormalizer normalizer_;
  AddedTokenFinder as_given_;
  AddedTokenFinder in_normalized_;
  Model model_;
  PreTokenizer cutter_;
  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Memory>> free_;
};

}  // namespace clara
