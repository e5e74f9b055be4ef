// Results of made-up methods, written as an evaluation writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "clara/eval/report.h"
#include "clara/eval/score.h"

namespace clara {

/// Question n with the gold answers "gold n" and "other n", two of four candidates gold.
inline Prediction make_prediction(std::int64_t n, const std::string& answer,
                                  std::vector<std::int32_t> ranking = {0, 1, 2, 3}) {
  Prediction prediction;
  prediction.row = n;
  prediction.id = "q" + std::to_string(n);
  prediction.question = "What is number " + std::to_string(n) + "?";
  prediction.prediction = answer;
  prediction.answers = {"gold " + std::to_string(n), "other " + std::to_string(n)};
  prediction.ranking = std::move(ranking);
  prediction.scores = {0.4F, 0.3F, 0.2F, 0.1F};
  prediction.selected = {prediction.ranking[0], prediction.ranking[1]};
  prediction.positives = {0, 2};
  prediction.num_gold = 2;
  for (int k = 0; k < 4; ++k) {
    prediction.documents.push_back("Title " + std::to_string(k) + "\nText of document " +
                                   std::to_string(n) + "." + std::to_string(k));
  }
  return prediction;
}

/// Questions of which those are answered right where `pattern` has a '1'.
inline std::vector<Prediction> make_predictions(const std::string& pattern) {
  std::vector<Prediction> predictions;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const auto n = static_cast<std::int64_t>(i);
    predictions.push_back(
        make_prediction(n, pattern[i] == '1' ? "gold " + std::to_string(n) : "no idea"));
  }
  return predictions;
}

inline EvalResult make_result(const std::string& benchmark = "hotpotqa",
                              EvalSetting setting = EvalSetting::kNormal) {
  EvalResult result;
  result.origin.stage = "joint";
  result.origin.compression_rate = 16;
  result.origin.doc_max_tokens = 256;
  result.settings.benchmark = benchmark;
  result.settings.setting = setting;
  return result;
}

/// scores.json, whose scores are those of the predictions, and predictions.jsonl.
inline void write_results(const std::filesystem::path& folder, EvalResult result,
                          const std::vector<Prediction>& predictions) {
  std::filesystem::create_directories(folder);
  ScoreSums sums;
  std::ofstream file(folder / "predictions.jsonl");
  for (const Prediction& prediction : predictions) {
    file << prediction_to_json(prediction) << "\n";
    sums.add(prediction);
  }
  result.scores = sums.scores();
  result.counts.num_rows = static_cast<std::int64_t>(predictions.size());
  std::ofstream(folder / "scores.json") << result_to_json(result);
}

}  // namespace clara
