// The BPE tokenizer: merging of words.
#include "clara/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "tokenizer/byte_alphabet.h"
#include "tokenizer/byte_pair_merges.h"
#include "tokenizer/make_tokenizer.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/unicode_text.h"

#include "clara/common/error.h"

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

class BpeModel {
 public:
  using Memory = MergeMemory;

  explicit BpeModel(const TokenizerFile& file)
      : merges_(make_merges(file)), words_are_independent_(words_are_independent(file)) {}

  // With independent words merges part by part, each beginning with the blank marks before a word:
  // much shorter than the whole, and most of them in the cache of words.
  void encode(std::string_view word, Memory& memory, TokenIds& ids) const {
    if (!words_are_independent_) {
      merges_.encode(word, memory, ids);
      return;
    }
    while (!word.empty()) {
      std::size_t end = 0;
      while (word.substr(end).starts_with(kBlankMark)) end += kBlankMark.size();
      end = std::min(word.find(kBlankMark, end), word.size());
      merges_.encode(word.substr(0, end), memory, ids);
      word.remove_prefix(end);
    }
  }

 private:
  BytePairMerges merges_;
  bool words_are_independent_;
};

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(TokenizerFile file,
                                              const std::filesystem::path& folder) {
  BpeModel model(file);
  return std::make_unique<PipelineTokenizer<BpeModel>>(std::move(file), std::move(model), folder);
}

std::unique_ptr<Tokenizer> load_bpe_tokenizer(const std::filesystem::path& folder) {
  TokenizerFile file = read_tokenizer_json(folder / "tokenizer.json");
  if (file.model != TokenModel::kBpe) {
    throw DataError((folder / "tokenizer.json").string() +
                    ": model.type: expected BPE, found WordPiece");
  }
  return make_bpe_tokenizer(std::move(file), folder);
}

}  // namespace clara
