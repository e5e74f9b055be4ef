// libsentencepiece between the special tokens; fairseq's numbers in place of the model's.
#include "clara/tokenizer/xlm_roberta_tokenizer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/vocabulary_tokenizer.h"
#include <sentencepiece_processor.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;

constexpr const char* kModelFile = "sentencepiece.bpe.model";
constexpr TokenId kBos = 0, kPad = 1, kEos = 2, kUnknown = 3;
constexpr int kFirstPiece = 3;  // behind <unk>, <s>, </s> of the model
constexpr TokenId kMoved = 1;   // <pad> stands before the pieces, which the model lacks

std::unique_ptr<const Processor> load_model(const std::filesystem::path& file) {
  auto model = std::make_unique<Processor>();
  const auto status = model->LoadFromSerializedProto(read_file(file));
  if (!status.ok() || model->GetPieceSize() <= kFirstPiece) {
    throw DataError(file.string() +
                    ": expected a SentencePiece model, found one that is damaged, cut short or of "
                    "another kind: " +
                    status.ToString());
  }
  const char* expected[] = {"<unk>", "<s>", "</s>"};
  for (int id = 0; id < kFirstPiece; ++id) {
    if (model->IdToPiece(id) != expected[id]) {
      throw DataError(file.string() + ": expected " + expected[id] + " as piece " +
                      std::to_string(id) + ", as XLM-RoBERTa's models have it, found " +
                      model->IdToPiece(id));
    }
  }
  return model;
}

std::vector<AddedToken> special_tokens(const Processor& model) {
  std::vector<AddedToken> tokens;
  const auto add = [&](const char* content, TokenId id, bool takes_blank) {
    AddedToken token;
    token.id = id;
    token.content = content;
    token.special = true;
    token.lstrip = takes_blank;
    tokens.push_back(std::move(token));
  };
  add("<s>", kBos, false);
  add("<pad>", kPad, false);
  add("</s>", kEos, false);
  add("<unk>", kUnknown, false);
  add("<mask>", model.GetPieceSize() + kMoved, true);
  return tokens;
}

std::vector<DecodeStep> decode_steps() {
  std::vector<DecodeStep> steps(3);
  steps[0].kind = DecodeStep::Kind::kReplaceString;
  steps[0].literal = "\u2581";
  steps[0].content = " ";
  steps[1].kind = DecodeStep::Kind::kFuse;
  steps[2].kind = DecodeStep::Kind::kStrip;
  steps[2].content = " ";
  steps[2].num_left = 1;
  return steps;
}

class XlmRobertaTokenizer : public VocabularyTokenizer {
 public:
  XlmRobertaTokenizer(std::unique_ptr<const Processor> model, const std::filesystem::path& folder)
      : VocabularyTokenizer(decode_steps()),
        model_(std::move(model)),
        finder_(special_tokens(*model_)) {
    for (int id = kFirstPiece; id < model_->GetPieceSize(); ++id)
      add_token(model_->IdToPiece(id), id + kMoved);
    for (const AddedToken& token : special_tokens(*model_)) add_token(token);
    set_bos_and_eos(folder, "<s>", "</s>");
  }

  // Every part between special tokens starts with the model's blank, wherever it stands.
  TokenIds encode(std::string_view text, SpecialTokenText special, TextPlace) const override {
    if (auto offset = find_invalid_utf8(text)) {
      throw DataError("expected UTF-8 text, found an invalid byte at offset " +
                      std::to_string(*offset) + " of " + std::to_string(text.size()));
    }
    std::vector<AddedTokenFinder::Piece> pieces;
    finder_.split(text, special, pieces);
    TokenIds ids;
    for (const auto& [range, id] : pieces) {
      if (id >= 0) {
        ids.push_back(id);
        continue;
      }
      std::vector<int> found;
      const auto status =
          model_->Encode({text.data() + range.begin, range.end - range.begin}, &found);
      if (!status.ok()) {
        throw DataError("SentencePiece could not encode a text of " + std::to_string(text.size()) +
                        " bytes: " + status.ToString());
      }
      for (const int piece : found) ids.push_back(piece < kFirstPiece ? kUnknown : piece + kMoved);
    }
    return ids;
  }

 private:
  std::unique_ptr<const Processor> model_;
  AddedTokenFinder finder_;
};

}  // namespace

EncoderTokenizer load_xlm_roberta_tokenizer(const std::filesystem::path& folder) {
  return {std::make_unique<XlmRobertaTokenizer>(load_model(folder / kModelFile), folder),
          roberta_sequence_template(kBos, kEos)};
}

}  // namespace clara
