// A record as the model sees it: prompt, tokens, memory slots, what carries loss, and with a model
// scores, chosen documents and losses (interface.md "Commands", clara-data inspect; numerics
// §3–§6).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/checkpoint/open_model.h"
#include "clara/config/run_config.h"
#include "clara/data/example.h"
#include "clara/data/prompts.h"
#include "clara/data/row_source.h"
#include "clara/model/clara_model.h"
#include "clara/model/selection.h"

namespace clara {

// Shapes: N documents of the record, M memory tokens, D width, S documents in the prompt, A answer
// tokens, V base vocabulary rows.

/// How a record becomes an example and its losses.
struct InspectionSettings {
  Stage stage = Stage::kScp;
  PromptSettings prompt;
  std::uint64_t epoch = 0;        ///< draws the version of a paraphrase row
  std::uint64_t row = 0;          ///< the row's number from 0, which also draws its instruction
  double alignment_weight = 0.1;  ///< λ: scp, tune
  double temperature = 0.02;      ///< τ: joint, retriever
  TopkMask topk_mask = TopkMask::kLeaky;
  bool keep_logits = false;  ///< ModelView::logits_AV, which is large
};

/// The settings that `config` means for records of `stage`: what it says for another stage is
/// replaced by the defaults of `stage`.
InspectionSettings inspection_settings(const RunConfig& config, Stage stage);

/// A sequence with the text of each token: control tokens and added tokens by name, other tokens
/// decoded (bytes that are no text of their own as the vocabulary spells them).
struct ShownTokens {
  TokenIds ids;
  std::vector<std::string> texts;
};

/// A stretch of a sequence: decoded text, or the memory tokens of one slot.
struct PromptPiece {
  std::int32_t slot = -1;  ///< memory tokens: which document of the prompt, from 0; else -1
  bool is_answer = false;  ///< carries loss
  std::string text;        ///< control tokens by name; empty for memory tokens
};

struct InspectedDocument {
  std::string text;
  ShownTokens tokens;                ///< <ENC> BOS text EOS and memory tokens, as cut
  std::int64_t num_text_tokens = 0;  ///< of the whole text, before the cut
  bool was_cut = false;
  bool is_positive = false;
};

/// One term of the loss of this record alone.
struct InspectedLoss {
  std::string name;  ///< "cross_entropy", "alignment", "retrieval"
  double mean = 0;   ///< of the terms that it counts
  std::int64_t count = 0;
  double weight = 1;
};

/// What a model makes of a record; float32 and int64 on the CPU, undefined where the stage has no
/// such tensor.
struct ModelView {
  torch::Tensor latents_NMD;
  torch::Tensor alignment_N;      ///< scp, tune
  torch::Tensor query_vector_1Q;  ///< [1, M·D]; joint, retriever
  torch::Tensor scores_N;         ///< cosines; joint, retriever
  torch::Tensor weights_SN;       ///< W; joint
  torch::Tensor indices_S;        ///< the documents of the prompt's slots, int64; joint
  torch::Tensor nll_A;            ///< loss of each answer token; not retriever
  torch::Tensor logits_AV;        ///< [A, V + M + 3], where kept; not retriever
  std::vector<InspectedLoss> losses;
  double loss = 0;  ///< Σ weight · mean
};

struct RecordInspection {
  std::string place;  ///< "data/train.jsonl:381"
  InspectionSettings settings;
  SpecialTokens special_tokens;
  Example example;
  std::vector<InspectedDocument> documents;  ///< those of the example
  std::string question_text;                 ///< tune, joint, retriever
  ShownTokens question;                      ///< query reasoner input; joint, retriever
  ShownTokens generator;                     ///< prompt and answer; not retriever
  std::vector<PromptPiece> prompt;           ///< the generator's tokens as text
  std::optional<ModelView> model;            ///< where a model was given
};

/// The stage that a record is written for: scp where it has `data_type` or a list of questions;
/// else `preferred` where that is tune, joint or retriever; else joint where it has `pos_index` or
/// more than `num_selected` documents, tune where it has neither. Throws DataError with the row's
/// place for what is no record of that stage.
Stage recognise_stage(const RawRow& raw, std::optional<Stage> preferred, std::int32_t num_selected);

/// Throws DataError with the row's place for a record that is wrong or does not fit. `model` may be
/// null. Nothing requires grad and no dropout acts; the warm-up term of scp, which belongs to its
/// first steps alone, is not among the losses.
RecordInspection inspect_record(const RawRow& raw, const TextSide& text,
                                const InspectionSettings& settings,
                                const ClaraModel* model = nullptr);

/// Where the tokenizer, the settings and the model of an inspection come from; at least one path.
struct InspectionSource {
  std::filesystem::path config;      ///< YAML or JSON of a run; "" = none
  std::filesystem::path checkpoint;  ///< checkpoint or final/ folder; "" = no model
  std::string base;                  ///< base folder in place of the one they name; "" = theirs
  std::optional<Stage> stage;        ///< empty: recognise_stage
  Dtype dtype = Dtype::kFloat32;
  Device device = Device::kAuto;
};

/// Opens what `source` names and inspects a record with it. `settings` gives epoch, row and
/// keep_logits; the rest comes from the config, without one from that of the checkpoint's run
/// (trainer_state.json, or config.yaml beside final/), without that from the stage's defaults. With
/// a checkpoint, document length and memory tokens are always the checkpoint's. Throws ConfigError,
/// DataError, CheckpointError.
RecordInspection inspect_row(const RawRow& raw, const InspectionSource& source,
                             const InspectionSettings& settings);

struct InspectionStyle {
  bool colors = false;           ///< escape sequences of a terminal
  bool document_tokens = false;  ///< the token table of every document too
};

/// The inspection as text for a terminal.
std::string render_inspection(const RecordInspection& inspection,
                              const InspectionStyle& style = {});

/// Writes the tensors of the inspection under the names of the parity fixtures, for a batch of this
/// one record: "joint.documents.input_ids", ".attention_mask" [N, T] (padded on the right with 0),
/// "joint.questions.…", "joint.generator.…", "joint.generator.labels" (−100 where no loss is; not
/// shifted: token t is predicted at t − 1), all int64; with a model float32 "joint.latents",
/// ".alignment", ".query_vectors", ".scores.0", ".weights.0", ".nll", ".logits" (of all answer
/// tokens) and int64 ".indices.0". The metadata name the record's place. Throws DataError where the
/// file cannot be written.
void save_inspection(const std::filesystem::path& path, const RecordInspection& inspection);

}  // namespace clara
