// An inspection as text: header, prompt, documents, question, losses, token tables.
#include <algorithm>
#include <string>
#include <vector>

#include "analysis/shown_text.h"
#include <torch/torch.h>

#include "clara/analysis/inspect_record.h"

namespace clara {
namespace {

constexpr std::size_t kPreviewWidth = 60;
constexpr std::size_t kTokenWidth = 32;

/// Everything below counts documents and slots from 1, as people do.
class Renderer {
 public:
  Renderer(const RecordInspection& inspection, const InspectionStyle& style)
      : inspection_(inspection), example_(inspection.example), style_(style) {
    if (inspection.model && inspection.model->indices_S.defined()) {
      const torch::Tensor& indices = inspection.model->indices_S;
      const auto* data = indices.const_data_ptr<std::int64_t>();
      chosen_.assign(data, data + indices.numel());
    }
  }

  std::string render() {
    add_header();
    if (!inspection_.prompt.empty()) add_prompt();
    add_documents();
    if (!example_.question.empty()) add_question();
    if (inspection_.model) add_losses();
    if (!example_.tokens.empty()) add_generator_tokens();
    return std::move(text_);
  }

 private:
  Stage stage() const { return inspection_.settings.stage; }
  bool has_selection() const { return stage() == Stage::kJoint; }

  std::string painted(const std::string& text, TextColor color) const {
    return paint(text, color, style_.colors);
  }
  void add_title(const std::string& title) {
    text_ += '\n';
    text_ += painted(title, TextColor::kBold);
    text_ += '\n';
  }

  /// "[MEM×16 of document 3]"; which document a slot of a joint prompt holds is known only with a
  /// model.
  std::string slot_name(std::int32_t slot) const {
    std::string name = "[MEM×" + std::to_string(inspection_.special_tokens.num_memory) + " of ";
    const auto place = static_cast<std::size_t>(slot);
    if (!has_selection()) {
      name += "document " + std::to_string(slot + 1);
    } else if (place < chosen_.size()) {
      name += "document " + std::to_string(chosen_[place] + 1);
    } else {
      name += "selected document " + std::to_string(slot + 1);
    }
    return name + "]";
  }

  void add_header() {
    text_ += painted(inspection_.place, TextColor::kBold) + "  as a record of " +
             to_string(stage()) + "\n";
    const PromptSettings& limits = inspection_.settings.prompt;
    if (!example_.tokens.empty()) {
      text_ += "generator  " + std::to_string(example_.prompt_length) + " prompt tokens, " +
               std::to_string(example_.num_answer_tokens()) + " answer tokens with loss, limit " +
               std::to_string(limits.max_sequence_tokens);
      if (example_.cut_answer) text_ += painted(" (the answer was cut)", TextColor::kYellow);
      text_ += "\n";
    }
    if (example_.cut_question) {
      text_ += "question   " +
               painted("cut to " + std::to_string(limits.doc_max_tokens) +
                           " + 3 tokens for the query reasoner",
                       TextColor::kYellow) +
               "\n";
    }
    if (stage() == Stage::kTune && limits.context != AnswerContext::kLatents) {
      text_ += limits.context == AnswerContext::kText ? "documents  as text in the prompt\n"
                                                      : "documents  none in the prompt\n";
      return;
    }
    text_ += "documents  " + std::to_string(example_.documents.size());
    if (stage() != Stage::kRetriever)
      text_ += ", " + std::to_string(example_.num_slots) + " in the prompt";
    text_ += ", cut to " + std::to_string(limits.doc_max_tokens) + " + 3 tokens, " +
             std::to_string(inspection_.special_tokens.num_memory) + " memory tokens each";
    if (example_.num_cut_documents > 0) {
      text_ +=
          painted("; " + std::to_string(example_.num_cut_documents) + " cut", TextColor::kYellow);
    }
    if (example_.num_dropped_documents > 0) {
      text_ += painted("; " + std::to_string(example_.num_dropped_documents) +
                           " more of the record left out (num_selected is " +
                           std::to_string(limits.num_selected) + ")",
                       TextColor::kYellow);
    }
    text_ += "\n";
  }

  void add_prompt() {
    add_title("PROMPT AND ANSWER");
    bool in_answer = false;
    for (const PromptPiece& piece : inspection_.prompt) {
      if (piece.is_answer && !in_answer) {
        in_answer = true;
        text_ += painted("‹loss from here›", TextColor::kDim);
      }
      if (piece.slot >= 0) {
        text_ += painted(slot_name(piece.slot), TextColor::kCyan);
      } else {
        text_ += painted(escape_controls(piece.text, /*keep_newlines=*/true),
                         piece.is_answer ? TextColor::kGreen : TextColor::kPlain);
      }
    }
    if (text_.back() != '\n') text_ += "\n";
  }

  void add_documents() {
    add_title("DOCUMENTS");
    TextTable table({{"#", true},
                     {"tokens", true},
                     {"text tokens", true},
                     {"cut"},
                     {"positive"},
                     {"score", true},
                     {"slot", true},
                     {"alignment", true},
                     {"text"}});
    for (std::size_t k = 0; k < inspection_.documents.size(); ++k) {
      const InspectedDocument& document = inspection_.documents[k];
      const auto chosen = std::find(chosen_.begin(), chosen_.end(), static_cast<std::int64_t>(k));
      table.add_row({std::to_string(k + 1), std::to_string(document.tokens.ids.size()),
                     std::to_string(document.num_text_tokens), document.was_cut ? "cut" : "",
                     document.is_positive ? "positive" : "",
                     inspection_.model ? value_at(inspection_.model->scores_N, k) : "",
                     chosen == chosen_.end() ? "" : std::to_string(chosen - chosen_.begin() + 1),
                     inspection_.model ? value_at(inspection_.model->alignment_N, k) : "",
                     shorten(escape_controls(document.text), kPreviewWidth)},
                    chosen != chosen_.end() ? TextColor::kCyan : TextColor::kPlain);
    }
    text_ += table.render(style_.colors);
    if (!style_.document_tokens) return;
    for (std::size_t k = 0; k < inspection_.documents.size(); ++k) {
      add_title("TOKENS OF DOCUMENT " + std::to_string(k + 1));
      add_encoder_tokens(inspection_.documents[k].tokens);
    }
  }

  void add_question() {
    add_title("QUESTION, AS THE QUERY REASONER READS IT (" +
              std::to_string(example_.question.size()) + " tokens)");
    add_encoder_tokens(inspection_.question);
  }

  /// A compressor or query reasoner input.
  void add_encoder_tokens(const ShownTokens& tokens) {
    TextTable table({{"place", true}, {"id", true}, {"token"}});
    for (std::size_t t = 0; t < tokens.ids.size();) {
      const std::size_t end = end_of_memory(tokens.ids, t);
      table.add_row({range(t, end), id_range(tokens.ids, t, end),
                     end > t + 1 ? memory_name() : token_text(tokens, t)},
                    color_of(tokens.ids[t]));
      t = end;
    }
    text_ += table.render(style_.colors);
  }

  void add_losses() {
    const ModelView& view = *inspection_.model;
    add_title("LOSS OF THIS RECORD");
    if (view.losses.empty()) {
      text_ += "none: the record has no positives (pos_index)\n";
      return;
    }
    TextTable table({{"term"}, {"mean", true}, {"count", true}, {"weight", true}});
    for (const InspectedLoss& loss : view.losses) {
      table.add_row({loss.name, short_number(loss.mean, 6), std::to_string(loss.count),
                     short_number(loss.weight)});
    }
    table.add_row({"loss", short_number(view.loss, 6), "", ""}, TextColor::kBold);
    text_ += table.render(style_.colors);
  }

  void add_generator_tokens() {
    add_title("TOKENS OF THE GENERATOR (a label carries loss; it is predicted one place before)");
    const ShownTokens& tokens = inspection_.generator;
    TextTable table(
        {{"place", true}, {"id", true}, {"token"}, {"predicts"}, {"label", true}, {"loss", true}});
    const auto prompt_length = static_cast<std::size_t>(example_.prompt_length);
    std::int32_t slot = -1;
    for (std::size_t t = 0; t < tokens.ids.size();) {
      const std::size_t end = end_of_memory(tokens.ids, t);
      const bool is_slot = inspection_.special_tokens.is_memory(tokens.ids[t]);
      if (is_slot) ++slot;
      const bool predicts = end >= prompt_length && end < tokens.ids.size();
      const bool has_loss = t >= prompt_length;
      table.add_row(
          {range(t, end), id_range(tokens.ids, t, end),
           is_slot ? slot_name(slot) : token_text(tokens, t),
           predicts ? token_text(tokens, end) : "", has_loss ? std::to_string(tokens.ids[t]) : "",
           has_loss && inspection_.model ? value_at(inspection_.model->nll_A, t - prompt_length)
                                         : ""},
          has_loss ? TextColor::kGreen : color_of(tokens.ids[t]));
      t = end;
    }
    text_ += table.render(style_.colors);
  }

  /// One past the memory tokens of one document that start at `t`; t + 1 elsewhere.
  std::size_t end_of_memory(const TokenIds& ids, std::size_t t) const {
    const SpecialTokens& special = inspection_.special_tokens;
    std::size_t end = t + 1;
    if (!special.is_memory(ids[t])) return end;
    while (end < ids.size() && special.is_memory(ids[end]) && ids[end] == ids[end - 1] + 1) ++end;
    return end;
  }

  std::string memory_name() const {
    return "[MEM×" + std::to_string(inspection_.special_tokens.num_memory) + "]";
  }
  static std::string range(std::size_t begin, std::size_t end) {
    return end == begin + 1 ? std::to_string(begin)
                            : std::to_string(begin) + "–" + std::to_string(end - 1);
  }
  static std::string id_range(const TokenIds& ids, std::size_t begin, std::size_t end) {
    return end == begin + 1 ? std::to_string(ids[begin])
                            : std::to_string(ids[begin]) + "–" + std::to_string(ids[end - 1]);
  }
  static std::string token_text(const ShownTokens& tokens, std::size_t t) {
    std::string quoted(1, '"');
    quoted += shorten(escape_controls(tokens.texts[t]), kTokenWidth);
    return quoted += '"';
  }
  TextColor color_of(TokenId id) const {
    return inspection_.special_tokens.is_added(id) ? TextColor::kCyan : TextColor::kPlain;
  }
  static std::string value_at(const torch::Tensor& values, std::size_t index) {
    if (!values.defined()) return "";
    return short_number(static_cast<double>(values.const_data_ptr<float>()[index]));
  }

  const RecordInspection& inspection_;
  const Example& example_;
  InspectionStyle style_;
  std::vector<std::int64_t> chosen_;
  std::string text_;
};

}  // namespace

std::string render_inspection(const RecordInspection& inspection, const InspectionStyle& style) {
  return Renderer(inspection, style).render();
}

}  // namespace clara
