// scores.json and the report of one evaluation. Needs no LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "clara/eval/eval_settings.h"
#include "clara/eval/score.h"

namespace clara {

/// What was evaluated, on what.
struct EvalOrigin {
  std::string checkpoint;             ///< folder, as it was given
  std::string stage;                  ///< of the checkpoint
  std::int64_t step = 0;              ///< of the checkpoint
  std::string base;                   ///< folder of the base model
  std::string data;                   ///< record file, as it was given
  std::string dtype;                  ///< "float32", "bfloat16"
  std::string device;                 ///< "cpu", "cuda:0"
  std::int32_t compression_rate = 0;  ///< of the checkpoint; 0: not recorded
  std::int32_t doc_max_tokens = 0;    ///< of the checkpoint; 0: not recorded
  AnswerContext context =
      AnswerContext::kLatents;  ///< what the checkpoint's generator learned from
};

/// What happened besides the scores.
struct EvalCounts {
  std::int64_t num_rows = 0;
  std::int64_t num_candidates = 0;         ///< of all rows
  std::int64_t num_cut_documents = 0;      ///< encoded ones that are longer than doc_max_tokens
  std::int64_t num_cut_questions = 0;      ///< as read by the query reasoner, likewise
  std::int64_t num_shortened_prompts = 0;  ///< rows whose prompt had no room for all its documents
  std::int64_t num_encoded_documents = 0;  ///< each distinct one once, while it is kept
  std::int64_t num_generated_tokens = 0;
};

struct EvalTimes {
  double total_seconds = 0;
  double encode_seconds = 0;    ///< documents and questions
  double generate_seconds = 0;  ///< answers
};

/// A whole evaluation.
struct EvalResult {
  EvalOrigin origin;
  EvalSettings settings;
  EvalScores scores;
  EvalCounts counts;
  EvalTimes times;
};

/// Whether two evaluations ask the same question: all settings and origins that can change a score
/// (not max_batch_tokens, not the device).
bool same_question(const EvalResult& a, const EvalResult& b);

/// The content of scores.json.
std::string result_to_json(const EvalResult& result);

/// Its member `scores` alone.
std::string scores_to_json(const EvalScores& scores);

/// Throws DataError that names the file and the member.
EvalResult read_result(const std::filesystem::path& path);

/// report.md: scores, counts, speed, and the first predictions.
std::string render_report(const EvalResult& result, const std::vector<Prediction>& examples);

/// An aligned Markdown table of one evaluation's scores, both protocols, in percent.
std::string render_scores(const EvalScores& scores);

}  // namespace clara
