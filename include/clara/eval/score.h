// The metrics of predictions; nothing but the predictions file is needed (numerics §9). Needs no
// LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "clara/metrics/answer_metrics.h"
#include "clara/metrics/retrieval_metrics.h"

namespace clara {

/// One answered question, a line of predictions.jsonl.
struct Prediction {
  std::int64_t row = 0;  ///< of the data, counted from 0
  std::string id;        ///< of the record; empty where it has none
  std::string question;
  std::string prediction;
  std::vector<std::string> answers;     ///< gold answers and aliases, at least one
  std::vector<std::int32_t> ranking;    ///< all K candidates, best first; empty: nothing was ranked
  std::vector<float> scores;            ///< [K] by candidate; empty where the selector has none
  std::vector<std::int32_t> selected;   ///< candidates in the prompt, in its order
  std::vector<std::int32_t> positives;  ///< gold documents among the candidates
  std::int32_t num_gold = 0;            ///< gold documents in all
  std::vector<std::int32_t> origins;    ///< Candidates::origins; empty where it is 0, 1, 2, …
  std::vector<std::string> documents;   ///< [K] texts of the candidates; empty: not recorded
};

/// The line of a prediction, without a line break. Its metrics are written beside it for readers;
/// scoring does not read them.
std::string prediction_to_json(const Prediction& prediction);

/// Throws DataError "<place>: field: expected …, found …".
Prediction parse_prediction(std::string_view json, const std::string& place);

/// The metrics of one prediction.
struct PredictionScores {
  AnswerScores first;       ///< against the first gold answer
  AnswerScores best;        ///< maximum over all gold answers
  bool has_recall = false;  ///< something was ranked, and gold documents are known
  std::array<double, RetrievalSummary::kCutoffs.size()> recall{};  ///< at kCutoffs
};

PredictionScores score_prediction(const Prediction& prediction);

/// All metrics of a set of predictions.
struct EvalScores {
  AnswerSummary first;         ///< against the first gold answer
  AnswerSummary best;          ///< maximum over all gold answers
  RetrievalSummary retrieval;  ///< both counts 0 where nothing was ranked
};

/// Takes predictions one at a time.
class ScoreSums {
 public:
  void add(const Prediction& prediction);
  EvalScores scores() const;
  std::int64_t num_predictions() const { return static_cast<std::int64_t>(first_.size()); }

 private:
  std::vector<AnswerScores> first_;
  std::vector<AnswerScores> best_;
  RetrievalMetrics retrieval_;
};

/// Reads predictions.jsonl line by line. Throws DataError as score_predictions_file.
void read_predictions(const std::filesystem::path& path,
                      const std::function<void(Prediction)>& take);

/// Reads and scores predictions.jsonl. Throws DataError: no such file, no rows, a wrong row (with
/// its line).
EvalScores score_predictions_file(const std::filesystem::path& path);

}  // namespace clara
