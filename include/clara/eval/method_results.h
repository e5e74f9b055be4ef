// Results of several methods, read from their folders for a comparison. Needs no LibTorch.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clara/eval/report.h"
#include "clara/eval/score.h"

namespace clara {

/// Where results are: a scores.json, a folder with one, or a run folder with eval/*/scores.json.
struct MethodSource {
  std::string name;  ///< of the method; empty: after the folder
  std::filesystem::path path;
  bool is_repetition = false;  ///< one of several runs of the method, for example with other seeds
};

/// "NAME=DIR", or "DIR" (also where a folder of that name with its "=" is there), or
/// "NAME=DIR,DIR,…": runs of one method. Throws ConfigError for an empty name or folder.
std::vector<MethodSource> parse_method_sources(const std::string& argument);

/// The scores of one question; where a file answers it several times, their means.
struct QuestionScores {
  std::string id;  ///< empty where the record has none
  std::string question;
  std::array<double, 6> answers{};  ///< EM, F1, CEM against the first gold answer, then the best
  std::array<double, 3> recall{};   ///< at RetrievalSummary::kCutoffs
  bool has_recall = false;
  std::int32_t num_answers = 0;

  /// Tells questions apart.
  std::string key() const { return id + '\0' + question; }
};

/// An answer as it is shown, its documents by their places in MethodResults::documents.
struct AnswerExample {
  Prediction prediction;                ///< without documents
  std::vector<std::int32_t> documents;  ///< [K] of the candidates; empty: not recorded
};

/// One evaluation of one method.
struct MethodResult {
  std::string method;
  std::filesystem::path folder;  ///< of scores.json
  EvalResult result;
  std::vector<QuestionScores> questions;  ///< in the file's order; empty: no predictions.jsonl
  std::int64_t num_predictions = 0;
  std::vector<AnswerExample> examples;  ///< the first ones
};

/// Losses and recall of a training run, (step, value).
struct TrainingCurves {
  using Series = std::vector<std::pair<double, double>>;
  std::string run;
  Series loss;
  Series validation_loss;
  std::array<Series, 3> validation_recall;  ///< at RetrievalSummary::kCutoffs
};

struct MethodResults {
  std::vector<MethodResult> results;
  std::vector<std::string> documents;  ///< different texts of the examples' candidates
  std::vector<TrainingCurves> curves;  ///< of the run folders among the sources, and above results
};

struct ExampleLimits {
  std::int64_t num_questions = 2000;            ///< of each result; 0: all
  std::int64_t max_document_characters = 2000;  ///< longer texts are cut, with "…"
};

/// Reads all results, in the order of the sources. A method without a name is called after its run
/// folder, with as much of the path as tells it from others; what was evaluated in another way
/// than the checkpoint was trained for has it behind its name: "joint (bm25)", "joint (text)",
/// "joint (no documents)". A given name gets this only for a run that was evaluated in several
/// ways. Repetitions of a method become one result, whose questions have the means of their scores
/// and whose examples are the first one's. Throws DataError for a path without results, for damaged
/// files, and for repetitions that answered different questions; ConfigError where two results
/// would be the same method on the same benchmark and setting.
MethodResults collect_method_results(const std::vector<MethodSource>& sources,
                                     const ExampleLimits& limits = {});

}  // namespace clara
