// The WordPiece tokenizer: the longest known piece of a word, then the longest of what is left.
#include "clara/tokenizer/wordpiece_tokenizer.h"

#include <algorithm>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "tokenizer/make_tokenizer.h"
#include "tokenizer/pipeline_tokenizer.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_json.h"
#include "tokenizer/unicode_text.h"

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

constexpr const char* kVocabularyFile = "vocab.txt";

// Tokens by spelling, sought without copying.
class PieceTable {
 public:
  void add(std::string piece, TokenId id) {
    longest_ = std::max(longest_, piece.size());
    ids_.emplace(std::move(piece), id);
  }

  // The longest piece that `text` (valid UTF-8) starts with: its size and id; size 0 if there is
  // none. A piece is whole characters, so it cannot end inside one.
  std::pair<std::size_t, TokenId> longest_start(std::string_view text) const {
    for (std::size_t size = std::min(longest_, text.size()); size > 0; --size) {
      const auto it = ids_.find(text.substr(0, size));
      if (it != ids_.end()) return {size, it->second};
    }
    return {0, 0};
  }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const noexcept {
      return std::hash<std::string_view>()(text);
    }
  };
  std::unordered_map<std::string, TokenId, Hash, std::equal_to<>> ids_;
  std::size_t longest_ = 0;
};

class WordPieceModel {
 public:
  struct Memory {};

  explicit WordPieceModel(const TokenizerFile& file)
      : unknown_(file.unknown.id), max_characters_(file.max_word_characters) {
    for (const auto& [token, id] : file.vocabulary) {
      first_.add(token, id);
      if (token.starts_with(file.word_prefix)) {
        continuing_.add(token.substr(file.word_prefix.size()), id);
      }
    }
  }

  void encode(std::string_view word, Memory&, TokenIds& ids) const {
    const std::size_t before = ids.size();
    const bool is_short = word.size() <= max_characters_ || num_characters(word) <= max_characters_;
    for (std::size_t at = 0; is_short && at < word.size();) {
      const auto [size, id] = (at == 0 ? first_ : continuing_).longest_start(word.substr(at));
      if (size == 0) break;
      ids.push_back(id);
      at += size;
      if (at == word.size()) return;
    }
    // A word that does not come out whole is unknown as a whole.
    ids.resize(before);
    ids.push_back(unknown_);
  }

 private:
  static std::size_t num_characters(std::string_view text) {
    return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
      return (static_cast<unsigned char>(c) & 0xC0U) != 0x80;
    }));
  }

  PieceTable first_;
  PieceTable continuing_;
  TokenId unknown_;
  std::size_t max_characters_;
};

// One token a line, its number is its id; of equal ones the last counts.
std::unordered_map<std::string, TokenId> read_vocabulary(const std::filesystem::path& path) {
  const std::string content = read_file(path);
  if (const auto offset = find_invalid_utf8(content)) {
    throw DataError(path.string() + ": expected UTF-8 text, found an invalid byte at offset " +
                    std::to_string(*offset));
  }
  std::unordered_map<std::string, TokenId> vocabulary;
  TokenId id = 0;
  for (std::size_t begin = 0; begin < content.size(); ++id) {
    const std::size_t end = std::min(content.find('\n', begin), content.size());
    std::string token = content.substr(begin, end - begin);
    if (token.ends_with('\r')) token.pop_back();
    vocabulary[std::move(token)] = id;
    begin = end + 1;
  }
  if (vocabulary.empty()) throw DataError(path.string() + ": expected tokens, found none");
  return vocabulary;
}

// What transformers makes of vocab.txt and the files beside it.
TokenizerFile read_vocabulary_folder(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kVocabularyFile;
  WordPieceConfig config = read_wordpiece_config(folder);
  TokenizerFile out;
  out.model = TokenModel::kWordPiece;
  out.vocabulary = read_vocabulary(path);
  out.word_prefix = "##";
  out.max_word_characters = 100;
  const auto id_of = [&](const std::string& token) {
    const auto it = out.vocabulary.find(token);
    if (it == out.vocabulary.end()) {
      throw DataError(path.string() + ": expected the token " + token +
                      ", found none of that name");
    }
    return it->second;
  };
  out.unknown.id = id_of(config.unknown);
  out.sequence = bert_sequence_template(id_of(config.cls), id_of(config.sep));
  NormalizeStep normalize;
  normalize.kind = NormalizeStep::Kind::kBert;
  normalize.lowercase = config.lowercase;
  normalize.handle_chinese_chars = config.handle_chinese_chars;
  normalize.strip_accents = config.strip_accents.value_or(config.lowercase);
  out.normalize_steps.push_back(std::move(normalize));
  CutStep cut;
  cut.kind = CutStep::Kind::kBert;
  out.cut_steps.push_back(std::move(cut));
  DecodeStep decode;
  decode.kind = DecodeStep::Kind::kWordPiece;
  decode.content = out.word_prefix;
  decode.cleanup = true;
  out.decode_steps.push_back(std::move(decode));
  // Those that the vocabulary lacks come after it, in their order.
  auto next = static_cast<TokenId>(out.vocabulary.size());
  for (AddedToken& token : config.added_tokens) {
    const auto it = out.vocabulary.find(token.content);
    const TokenId id = it != out.vocabulary.end() ? it->second : next++;
    if (token.id >= 0 && token.id != id) {
      throw DataError((folder / "tokenizer_config.json").string() + ": added_tokens_decoder: \"" +
                      token.content + "\" has the id " + std::to_string(token.id) +
                      ", but its place in " + kVocabularyFile + " makes it " + std::to_string(id));
    }
    token.id = id;
    out.added_tokens.push_back(std::move(token));
  }
  return out;
}

}  // namespace

std::unique_ptr<Tokenizer> make_wordpiece_tokenizer(TokenizerFile file,
                                                    const std::filesystem::path& folder) {
  WordPieceModel model(file);
  return std::make_unique<PipelineTokenizer<WordPieceModel>>(std::move(file), std::move(model),
                                                             folder);
}

EncoderTokenizer load_wordpiece_tokenizer(const std::filesystem::path& folder) {
  const std::filesystem::path json = folder / "tokenizer.json";
  const bool has_json = std::filesystem::exists(json);
  if (!has_json && !std::filesystem::exists(folder / kVocabularyFile)) {
    throw DataError(folder.string() + ": expected tokenizer.json or vocab.txt, found neither");
  }
  TokenizerFile file = has_json ? read_tokenizer_json(json) : read_vocabulary_folder(folder);
  if (file.model != TokenModel::kWordPiece) {
    throw DataError(json.string() + ": model.type: expected WordPiece, found BPE");
  }
  SequenceTemplate sequence = *file.sequence;
  return {make_wordpiece_tokenizer(std::move(file), folder), std::move(sequence)};
}

}  // namespace clara
