// Predictions as JSON lines, and their metrics.
#include "clara/eval/score.h"

#include <fstream>
#include <type_traits>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const AnswerScores& scores) {
  return {{"exact_match", scores.exact_match},
          {"f1", scores.f1},
          {"cover_exact_match", scores.cover_exact_match},
          {"contiguous_cover_match", scores.contiguous_cover_match}};
}

/// Gold documents that are no candidates get numbers behind the candidates': never found, but
/// counted.
std::vector<std::int32_t> gold_numbers(const Prediction& prediction) {
  std::vector<std::int32_t> gold = prediction.positives;
  auto next = static_cast<std::int32_t>(prediction.ranking.size());
  while (static_cast<std::int32_t>(gold.size()) < prediction.num_gold) gold.push_back(next++);
  return gold;
}

class PredictionReader {
 public:
  PredictionReader(std::string_view text, std::string place) : place_(std::move(place)) {
    object_ = parse_json<Json>(text);
    if (!object_.is_object()) {
      throw DataError(place_ + ": expected one JSON object of a prediction, found " +
                      (object_.is_discarded() ? "invalid JSON" : object_.type_name()));
    }
  }

  [[noreturn]] void fail(const std::string& field, const std::string& expected,
                         const std::string& found) const {
    throw DataError(place_ + ": " + field + ": expected " + expected + ", found " + found);
  }

  std::string text(const char* field) const {
    const Json& value = require(field, "a string");
    if (!value.is_string()) fail(field, "a string", value.type_name());
    return value.get<std::string>();
  }

  std::string text_or_empty(const char* field) const {
    return object_.contains(field) ? text(field) : std::string();
  }

  std::int64_t number(const char* field) const {
    const Json& value = require(field, "a whole number");
    const auto number = whole_number<std::int64_t>(value);
    if (!number) fail(field, "a whole number", value.dump());
    return *number;
  }

  template <typename T>
  std::vector<T> list(const char* field, bool is_required) const {
    const char* expected = std::is_same_v<T, std::string>    ? "a list of strings"
                           : std::is_same_v<T, std::int32_t> ? "a list of whole numbers"
                                                             : "a list of numbers";
    if (!is_required && !object_.contains(field)) return {};
    const Json& value = require(field, expected);
    if (!value.is_array()) fail(field, expected, value.type_name());
    std::vector<T> items;
    for (const Json& item : value) {
      const bool fits = std::is_same_v<T, std::string> ? item.is_string()
                        : std::is_same_v<T, std::int32_t>
                            ? whole_number<std::int32_t>(item).has_value()
                            : item.is_number();
      if (!fits) fail(field, expected, item.dump());
      items.push_back(item.get<T>());
    }
    return items;
  }

  /// Candidates, each from 0 to `count` − 1 and once.
  std::vector<std::int32_t> candidates(const char* field, std::size_t count) const {
    std::vector<std::int32_t> items = list<std::int32_t>(field, /*is_required=*/true);
    std::vector<bool> seen(count, false);
    for (const std::int32_t item : items) {
      if (item < 0 || static_cast<std::size_t>(item) >= count ||
          seen[static_cast<std::size_t>(item)]) {
        fail(field, "different candidates from 0 to " + std::to_string(count) + " - 1",
             std::to_string(item));
      }
      seen[static_cast<std::size_t>(item)] = true;
    }
    return items;
  }

 private:
  const Json& require(const char* field, const std::string& expected) const {
    const auto found = object_.find(field);
    if (found == object_.end()) fail(field, expected, "no such field");
    return *found;
  }

  std::string place_;
  Json object_;
};

}  // namespace

std::string prediction_to_json(const Prediction& prediction) {
  Json object;
  object["row"] = prediction.row;
  if (!prediction.id.empty()) object["id"] = prediction.id;
  object["question"] = prediction.question;
  object["prediction"] = prediction.prediction;
  object["answers"] = prediction.answers;
  object["selected"] = prediction.selected;
  object["ranking"] = prediction.ranking;
  if (!prediction.scores.empty()) object["scores"] = prediction.scores;
  object["positives"] = prediction.positives;
  object["num_gold"] = prediction.num_gold;
  if (!prediction.origins.empty()) object["origins"] = prediction.origins;
  if (!prediction.documents.empty()) object["documents"] = prediction.documents;
  const PredictionScores scores = score_prediction(prediction);
  Json& metrics = object["metrics"];
  metrics["first"] = to_json(scores.first);
  metrics["best"] = to_json(scores.best);
  for (std::size_t i = 0; scores.has_recall && i < scores.recall.size(); ++i) {
    metrics["recall@" + std::to_string(RetrievalSummary::kCutoffs[i])] = scores.recall[i];
  }
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

Prediction parse_prediction(std::string_view json, const std::string& place) {
  const PredictionReader reader(json, place);
  Prediction prediction;
  prediction.row = reader.number("row");
  prediction.id = reader.text_or_empty("id");
  prediction.question = reader.text("question");
  prediction.prediction = reader.text("prediction");
  prediction.answers = reader.list<std::string>("answers", /*is_required=*/true);
  if (prediction.answers.empty()) reader.fail("answers", "at least one string", "an empty list");
  const std::size_t num_candidates = reader.list<std::int32_t>("ranking", true).size();
  prediction.ranking = reader.candidates("ranking", num_candidates);
  prediction.selected = reader.candidates("selected", num_candidates);
  prediction.positives = reader.candidates("positives", num_candidates);
  prediction.scores = reader.list<float>("scores", /*is_required=*/false);
  prediction.origins = reader.list<std::int32_t>("origins", /*is_required=*/false);
  prediction.documents = reader.list<std::string>("documents", /*is_required=*/false);
  if (!prediction.documents.empty() && prediction.documents.size() != num_candidates) {
    reader.fail("documents",
                "a text for each of the " + std::to_string(num_candidates) + " ranked candidates",
                std::to_string(prediction.documents.size()));
  }
  const std::int64_t num_gold = reader.number("num_gold");
  const auto num_positives = static_cast<std::int64_t>(prediction.positives.size());
  if (num_gold < num_positives || num_gold > num_positives + 1000000) {
    reader.fail("num_gold",
                "at least the number of positives (" + std::to_string(num_positives) + ")",
                std::to_string(num_gold));
  }
  prediction.num_gold = static_cast<std::int32_t>(num_gold);
  return prediction;
}

PredictionScores score_prediction(const Prediction& prediction) {
  PredictionScores scores;
  scores.first = score_answer(prediction.prediction, prediction.answers, GoldProtocol::kFirst);
  scores.best = score_answer(prediction.prediction, prediction.answers, GoldProtocol::kBest);
  const std::vector<std::int32_t> gold = gold_numbers(prediction);
  scores.has_recall = !gold.empty() && !prediction.ranking.empty();
  for (std::size_t i = 0; scores.has_recall && i < scores.recall.size(); ++i) {
    scores.recall[i] = recall_at_k(prediction.ranking, gold, RetrievalSummary::kCutoffs[i]);
  }
  return scores;
}

void ScoreSums::add(const Prediction& prediction) {
  first_.push_back(score_answer(prediction.prediction, prediction.answers, GoldProtocol::kFirst));
  best_.push_back(score_answer(prediction.prediction, prediction.answers, GoldProtocol::kBest));
  if (!prediction.ranking.empty()) retrieval_.add(prediction.ranking, gold_numbers(prediction));
}

EvalScores ScoreSums::scores() const {
  return {summarize_answers(first_), summarize_answers(best_), retrieval_.summary()};
}

void read_predictions(const std::filesystem::path& path,
                      const std::function<void(Prediction)>& take) {
  if (std::filesystem::is_directory(path)) {
    throw DataError(path.string() + ": expected a predictions.jsonl, found a folder");
  }
  std::ifstream file(path);
  if (!file) throw DataError(path.string() + ": expected a predictions.jsonl that can be read");
  std::int64_t num_predictions = 0;
  std::string line;
  for (std::int64_t number = 1; std::getline(file, line); ++number) {
    if (strip_whitespace(line).empty()) continue;
    take(parse_prediction(line, path.string() + ":" + std::to_string(number)));
    ++num_predictions;
  }
  if (file.bad()) throw DataError(path.string() + ": reading failed");
  if (num_predictions == 0) {
    throw DataError(path.string() + ": expected at least one prediction, found none");
  }
}

EvalScores score_predictions_file(const std::filesystem::path& path) {
  ScoreSums sums;
  read_predictions(path, [&](const Prediction& prediction) { sums.add(prediction); });
  return sums.scores();
}

}  // namespace clara
