// Encoding with libsentencepiece between the added tokens, and the files around tokenizer.model.
#include "clara/tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include <sentencepiece_processor.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

// libsentencepiece and LibTorch's libc10 both export a variable of this name, of 32 and of 4 bytes.
// In a process the first one found serves both; were it libc10's, libsentencepiece would write over
// what lies behind it. The program's own is found before either and has room for both. libc10 only
// takes its address, for a parser of flags that nothing here calls.
extern "C" {
alignas(16) char FLAGS_minloglevel[256] = {};
}

namespace clara {
namespace {

constexpr std::string_view kBlankMark = "\u2581";

using Processor = sentencepiece::SentencePieceProcessor;

// A copy of a model whose texts get no blank in front. In the wire format of protocol buffers a
// message may be given in parts, of which the last says what counts: this part sets
// normalizer_spec.add_dummy_prefix (fields 3 and 3) to false.
std::string without_dummy_prefix(std::string model) { return model.append("\x1A\x02\x18\x00", 4); }

std::vector<DecodeStep> decode_steps(bool adds_prefix) {
  std::vector<DecodeStep> steps(3);
  steps[0].kind = DecodeStep::Kind::kReplaceString;
  steps[0].literal = kBlankMark;
  steps[0].content = " ";
  steps[1].kind = DecodeStep::Kind::kByteFallback;
  steps[2].kind = DecodeStep::Kind::kFuse;
  if (adds_prefix) {
    DecodeStep& strip = steps.emplace_back();
    strip.kind = DecodeStep::Kind::kStrip;
    strip.content = " ";
    strip.num_left = 1;
  }
  return steps;
}

// A loaded model, with and without the blank in front of texts.
class Model {
 public:
  Model(const std::filesystem::path& file, bool add_prefix_space) {
    const std::string bytes = read_file(file);
    load(file, bytes, with_prefix_);
    load(file, without_dummy_prefix(bytes), without_prefix_);
    const std::vector<int> plain = encode(without_prefix_, "a");
    adds_prefix_ = add_prefix_space && encode(with_prefix_, "a") != plain;
    strips_blanks_ = encode(without_prefix_, " a") == plain;
    guard_size_ = encode(without_prefix_, kGuard).size();
  }

  const Processor& pieces() const { return with_prefix_; }
  bool adds_prefix() const { return adds_prefix_; }

  void encode(std::string_view text, bool with_prefix, TokenIds& ids) const {
    if (with_prefix && adds_prefix_) {
      const std::vector<int> found = encode(with_prefix_, text);
      ids.insert(ids.end(), found.begin(), found.end());
      return;
    }
    // A model that drops blanks at the start of a text must keep them inside a sequence: something
    // stands before them for the time being.
    const bool guards = strips_blanks_ && (text.starts_with(' ') || text.starts_with(kBlankMark));
    const std::vector<int> found =
        encode(without_prefix_, guards ? kGuard + std::string(text) : std::string(text));
    const std::size_t skipped = guards ? std::min(guard_size_, found.size()) : 0;
    ids.insert(ids.end(), found.begin() + static_cast<std::ptrdiff_t>(skipped), found.end());
  }

 private:
  static inline const std::string kGuard = "<unk>";

  static void load(const std::filesystem::path& file, const std::string& bytes,
                   Processor& processor) {
    const auto status = processor.LoadFromSerializedProto(bytes);
    if (!status.ok() || processor.GetPieceSize() == 0) {
      throw DataError(file.string() +
                      ": expected a SentencePiece model, found one that is damaged, cut short or "
                      "of another kind: " +
                      status.ToString());
    }
  }

  static std::vector<int> encode(const Processor& processor, std::string_view text) {
    std::vector<int> ids;
    const auto status = processor.Encode({text.data(), text.size()}, &ids);
    if (!status.ok()) {
      throw DataError("SentencePiece could not encode a text of " + std::to_string(text.size()) +
                      " bytes: " + status.ToString());
    }
    return ids;
  }

  Processor with_prefix_;
  Processor without_prefix_;
  bool adds_prefix_ = false;
  bool strips_blanks_ = false;
  std::size_t guard_size_ = 0;
};

// The added tokens with their ids: those that no file numbers have the id of their piece, or come
// after all others.
std::vector<AddedToken> numbered(const Model& model, std::vector<AddedToken> added,
                                 const std::string& place) {
  const Processor& pieces = model.pieces();
  const TokenId num_pieces = pieces.GetPieceSize();
  const auto piece_id = [&](const std::string& content) -> TokenId {
    const int id = pieces.PieceToId(content);
    return pieces.IdToPiece(id) == content ? id : -1;
  };
  TokenId next = num_pieces;
  for (const AddedToken& token : added) next = std::max(next, token.id + 1);
  for (AddedToken& token : added) {
    const TokenId piece = piece_id(token.content);
    if (token.id < 0) {
      token.id = piece >= 0 ? piece : next++;
    } else if (token.id < num_pieces ? token.id != piece : piece >= 0) {
      throw DataError(place + ": the added token \"" + token.content + "\" has the id " +
                      std::to_string(token.id) + ", but tokenizer.model " +
                      (piece >= 0 ? "has it as " + std::to_string(piece)
                                  : "has \"" + pieces.IdToPiece(token.id) + "\" there"));
    }
  }
  // Control pieces are special tokens whether or not a file says so.
  for (TokenId id = 0; id < num_pieces; ++id) {
    if (!pieces.IsControl(id)) continue;
    const auto it = std::find_if(added.begin(), added.end(),
                                 [&](const AddedToken& token) { return token.id == id; });
    AddedToken& token = it == added.end() ? added.emplace_back() : *it;
    token.id = id;
    token.content = pieces.IdToPiece(id);
    token.special = true;
  }
  return added;
}

class SentencePieceTokenizer : public VocabularyTokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<const Model> model, const SentencePieceConfig& config,
                         const std::filesystem::path& folder)
      : VocabularyTokenizer(decode_steps(model->adds_prefix())),
        model_(std::move(model)),
        legacy_(config.legacy),
        added_(numbered(*model_, config.added_tokens, folder.string())),
        finder_(added_) {
    const Processor& pieces = model_->pieces();
    for (TokenId id = 0; id < pieces.GetPieceSize(); ++id) add_token(pieces.IdToPiece(id), id);
    for (const AddedToken& token : added_) add_token(token);
    const auto own_piece = [&](int id) { return id < 0 ? std::string() : pieces.IdToPiece(id); };
    set_bos_and_eos(folder,
                    read_named_token(folder, "bos_token").value_or(own_piece(pieces.bos_id())),
                    read_named_token(folder, "eos_token").value_or(own_piece(pieces.eos_id())));
  }

  TokenIds encode(std::string_view text, SpecialTokenText special, TextPlace place) const override {
    if (auto offset = find_invalid_utf8(text)) {
      throw DataError("expected UTF-8 text, found an invalid byte at offset " +
                      std::to_string(*offset) + " of " + std::to_string(text.size()));
    }
    std::vector<AddedTokenFinder::Piece> pieces;
    finder_.split(text, special, pieces);
    TokenIds ids;
    ids.reserve(text.size() / 4 + 1);
    for (const auto& [range, id] : pieces) {
      if (id >= 0) {
        ids.push_back(id);
        continue;
      }
      const std::string_view part = text.substr(range.begin, range.end - range.begin);
      const bool starts_with_blank = part.starts_with(' ') || part.starts_with(kBlankMark);
      const bool is_first = place == TextPlace::kStart && range.begin == 0;
      model_->encode(part, legacy_ || (is_first && !starts_with_blank), ids);
    }
    return ids;
  }

 private:
  std::unique_ptr<const Model> model_;
  bool legacy_;
  std::vector<AddedToken> added_;
  AddedTokenFinder finder_;
};

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(const std::filesystem::path& folder) {
  const SentencePieceConfig config = read_sentencepiece_config(folder);
  return std::make_unique<SentencePieceTokenizer>(
      std::make_unique<const Model>(folder / "tokenizer.model", config.add_prefix_space), config,
      folder);
}

}  // namespace clara
