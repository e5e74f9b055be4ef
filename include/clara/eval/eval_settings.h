// What an evaluation is asked to do (numerics §9). Needs no LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/data/answer_context.h"

namespace clara {

enum class EvalSetting {
  kNormal,  ///< "normal": the candidates as the record gives them
  kOracle,  ///< "oracle": the gold documents are among them, in an order drawn from the seed
};

/// Which candidates reach the generator.
enum class DocumentSelector {
  kQueryReasoner,  ///< "query_reasoner": largest cosine with the question's vector
  kGiven,          ///< "given": the first ones (scp and tune checkpoints)
  kBm25,           ///< "bm25": statistics over the row's own candidates
  kDense,          ///< "dense": cosine by a text encoder (BGE, MiniLM)
  kCrossEncoder,   ///< "cross_encoder": a reranker's score of question and document together
  kRandom,         ///< "random": drawn from the seed
  kAll,            ///< "all": every candidate, in the given order, as many as fit the prompt
};

/// The value of a name. Throws ConfigError that lists the names.
EvalSetting parse_eval_setting(std::string_view name);
DocumentSelector parse_document_selector(std::string_view name);
std::string to_string(EvalSetting setting);
std::string to_string(DocumentSelector selector);
/// All names, in the order of the enums.
std::vector<std::string> eval_setting_names();
std::vector<std::string> document_selector_names();

/// The selector that a checkpoint of `stage` ("scp", "tune", "joint", "retriever") was trained for:
/// query_reasoner after joint and retriever training, else given.
DocumentSelector default_selector(std::string_view stage);

struct EvalSettings {
  std::string benchmark = "records";
  EvalSetting setting = EvalSetting::kNormal;
  DocumentSelector select = DocumentSelector::kQueryReasoner;
  /// How the selected documents reach the generator. Text and none are read by the base model
  /// without adapter, but by the generator's where the checkpoint was tuned on the same context.
  AnswerContext context = AnswerContext::kLatents;
  /// Before a question or a document that a dense encoder reads; empty: as its folder says.
  std::string query_prefix, passage_prefix;
  std::string encoder;  ///< of dense and cross_encoder: its Hugging Face folder; else empty
  std::int32_t num_selected = 5;     ///< S: documents in the prompt at most
  std::int32_t max_new_tokens = 64;  ///< of an answer
  std::int32_t max_sequence_tokens =
      0;                      ///< prompt and answer; 0 = what the base model was made for
  std::int64_t max_rows = 0;  ///< 0 = all
  std::uint64_t seed = 17;    ///< draws the Oracle order and the random selection
  std::int64_t max_batch_tokens = 8192;  ///< of one pass; changes no result beyond rounding
};

/// Whether documents are ranked by EvalSettings::encoder.
bool needs_encoder(const EvalSettings& settings);

/// Throws ConfigError where the encoder is missing or has no use, and for prefixes without a dense
/// selection; DataError for a folder without config.json.
void check_encoder(const EvalSettings& settings);

/// "<benchmark>_<setting>", then "_<select>" where it is not `usual` and "_<context>" where that is
/// not `usual_context`: the folder of a run's results.
std::string eval_folder_name(const EvalSettings& settings, DocumentSelector usual,
                             AnswerContext usual_context);

}  // namespace clara
