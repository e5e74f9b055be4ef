// scores.json and report.md.
#include "clara/eval/report.h"

#include <array>
#include <cstdio>
#include <tuple>
#include <utility>

#include "common/parse_json.h"
#include "eval/text_table.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::int32_t kFormatVersion = 1;

std::string percent(double fraction) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", 100 * fraction);
  return text.data();
}

std::string decimals(double value, int digits) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

Json to_json(const AnswerScores& scores) {
  return {{"exact_match", scores.exact_match},
          {"f1", scores.f1},
          {"cover_exact_match", scores.cover_exact_match},
          {"contiguous_cover_match", scores.contiguous_cover_match}};
}

Json to_json(const EvalScores& scores) {
  Json object;
  object["num_questions"] = scores.first.num_questions;
  object["first"] = to_json(scores.first.mean);
  object["best"] = to_json(scores.best.mean);
  Json& retrieval = object["retrieval"];
  for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
    const std::string k = std::to_string(RetrievalSummary::kCutoffs[i]);
    retrieval["recall@" + k] = scores.retrieval.recall[i];
    retrieval["precision@" + k] = scores.retrieval.precision[i];
  }
  retrieval["num_questions"] = scores.retrieval.num_questions;
  retrieval["num_without_gold"] = scores.retrieval.num_without_gold;
  return object;
}

/// A JSON object that names the member which is missing or wrong.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string place) : object_(object), place_(std::move(place)) {
    if (!object_.is_object()) throw DataError(place_ + ": expected an object");
  }

  bool has(const std::string& name) const { return object_.contains(name); }

  ObjectReader member(const std::string& name) const {
    return {require(name), place_ + ": " + name};
  }

  template <typename T>
  T get(const std::string& name) const {
    const Json& value = require(name);
    try {
      if constexpr (std::integral<T> && !std::is_same_v<T, bool>) {
        if (const auto number = whole_number<T>(value)) return *number;
      } else {
        return value.template get<T>();
      }
    } catch (const Json::exception&) {
      // said below
    }
    throw DataError(place_ + ": " + name + ": a value of another type was expected, found " +
                    value.dump());
  }

 private:
  const Json& require(const std::string& name) const {
    const auto found = object_.find(name);
    if (found == object_.end()) throw DataError(place_ + ": " + name + ": no such member");
    return *found;
  }

  const Json& object_;
  std::string place_;
};

AnswerScores read_answer_scores(const ObjectReader& reader) {
  return {reader.get<double>("exact_match"), reader.get<double>("f1"),
          reader.get<double>("cover_exact_match"), reader.get<double>("contiguous_cover_match")};
}

EvalScores read_scores(const ObjectReader& reader) {
  EvalScores scores;
  const auto num_questions = reader.get<std::int64_t>("num_questions");
  scores.first = {read_answer_scores(reader.member("first")), num_questions};
  scores.best = {read_answer_scores(reader.member("best")), num_questions};
  const ObjectReader retrieval = reader.member("retrieval");
  for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
    const std::string k = std::to_string(RetrievalSummary::kCutoffs[i]);
    scores.retrieval.recall[i] = retrieval.get<double>("recall@" + k);
    scores.retrieval.precision[i] = retrieval.get<double>("precision@" + k);
  }
  scores.retrieval.num_questions = retrieval.get<std::int64_t>("num_questions");
  scores.retrieval.num_without_gold = retrieval.get<std::int64_t>("num_without_gold");
  return scores;
}

double rate(std::int64_t count, double seconds) {
  return seconds > 0 ? static_cast<double>(count) / seconds : 0;
}

}  // namespace

bool same_question(const EvalResult& a, const EvalResult& b) {
  const auto key = [](const EvalResult& r) {
    const EvalSettings& s = r.settings;
    return std::make_tuple(s.benchmark, s.setting, s.select, s.encoder, s.query_prefix,
                           s.passage_prefix, s.context, s.num_selected, s.max_new_tokens,
                           s.max_sequence_tokens, s.max_rows, s.seed, r.origin.checkpoint,
                           r.origin.base, r.origin.data, r.origin.dtype);
  };
  return key(a) == key(b);
}

std::string result_to_json(const EvalResult& result) {
  const EvalSettings& s = result.settings;
  const EvalCounts& counts = result.counts;
  const EvalTimes& times = result.times;
  Json object;
  object["format_version"] = kFormatVersion;
  object["settings"] = {{"benchmark", s.benchmark},
                        {"setting", to_string(s.setting)},
                        {"select", to_string(s.select)},
                        {"context", to_string(s.context)},
                        {"num_selected", s.num_selected},
                        {"max_new_tokens", s.max_new_tokens},
                        {"max_sequence_tokens", s.max_sequence_tokens},
                        {"max_rows", s.max_rows},
                        {"seed", s.seed},
                        {"max_batch_tokens", s.max_batch_tokens}};
  for (const auto& [key, value] : {std::pair{"encoder", &s.encoder},
                                   {"query_prefix", &s.query_prefix},
                                   {"passage_prefix", &s.passage_prefix}}) {
    if (!value->empty()) object["settings"][key] = *value;
  }
  const EvalOrigin& origin = result.origin;
  object["origin"] = {{"checkpoint", origin.checkpoint},
                      {"stage", origin.stage},
                      {"step", origin.step},
                      {"base", origin.base},
                      {"data", origin.data},
                      {"dtype", origin.dtype},
                      {"device", origin.device}};
  if (origin.compression_rate > 0) {
    object["origin"]["compression_rate"] = origin.compression_rate;
    object["origin"]["doc_max_tokens"] = origin.doc_max_tokens;
  }
  if (origin.context != AnswerContext::kLatents)
    object["origin"]["context"] = to_string(origin.context);
  object["scores"] = to_json(result.scores);
  object["counts"] = {{"num_rows", counts.num_rows},
                      {"num_candidates", counts.num_candidates},
                      {"num_cut_documents", counts.num_cut_documents},
                      {"num_cut_questions", counts.num_cut_questions},
                      {"num_shortened_prompts", counts.num_shortened_prompts},
                      {"num_encoded_documents", counts.num_encoded_documents},
                      {"num_generated_tokens", counts.num_generated_tokens}};
  object["speed"] = {
      {"total_seconds", times.total_seconds},
      {"encode_seconds", times.encode_seconds},
      {"generate_seconds", times.generate_seconds},
      {"rows_per_second", rate(counts.num_rows, times.total_seconds)},
      {"documents_per_second", rate(counts.num_encoded_documents, times.encode_seconds)},
      {"generated_tokens_per_second", rate(counts.num_generated_tokens, times.generate_seconds)}};
  return object.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string scores_to_json(const EvalScores& scores) { return to_json(scores).dump(2) + "\n"; }

EvalResult read_result(const std::filesystem::path& path) {
  const Json object = parse_json<Json>(read_file(path));
  if (object.is_discarded()) throw DataError(path.string() + ": expected JSON");
  const ObjectReader reader(object, path.string());
  const auto version = reader.get<std::int32_t>("format_version");
  if (version != kFormatVersion) {
    throw DataError(path.string() + ": format_version: expected " + std::to_string(kFormatVersion) +
                    ", found " + std::to_string(version));
  }
  EvalResult result;
  const ObjectReader settings = reader.member("settings");
  try {
    result.settings.setting = parse_eval_setting(settings.get<std::string>("setting"));
    result.settings.select = parse_document_selector(settings.get<std::string>("select"));
    result.settings.context = parse_answer_context(settings.get<std::string>("context"));
  } catch (const ConfigError& error) {
    throw DataError(path.string() + ": settings: " + error.what());
  }
  for (const auto& [key, value] : {std::pair{"encoder", &result.settings.encoder},
                                   {"query_prefix", &result.settings.query_prefix},
                                   {"passage_prefix", &result.settings.passage_prefix}}) {
    if (settings.has(key)) *value = settings.get<std::string>(key);
  }
  result.settings.benchmark = settings.get<std::string>("benchmark");
  result.settings.num_selected = settings.get<std::int32_t>("num_selected");
  result.settings.max_new_tokens = settings.get<std::int32_t>("max_new_tokens");
  result.settings.max_sequence_tokens = settings.get<std::int32_t>("max_sequence_tokens");
  result.settings.max_rows = settings.get<std::int64_t>("max_rows");
  result.settings.seed = settings.get<std::uint64_t>("seed");
  result.settings.max_batch_tokens = settings.get<std::int64_t>("max_batch_tokens");
  const ObjectReader origin = reader.member("origin");
  result.origin = {origin.get<std::string>("checkpoint"), origin.get<std::string>("stage"),
                   origin.get<std::int64_t>("step"),      origin.get<std::string>("base"),
                   origin.get<std::string>("data"),       origin.get<std::string>("dtype"),
                   origin.get<std::string>("device")};
  if (origin.has("compression_rate")) {  // files of before it was recorded lack it
    result.origin.compression_rate = origin.get<std::int32_t>("compression_rate");
    result.origin.doc_max_tokens = origin.get<std::int32_t>("doc_max_tokens");
  }
  if (origin.has("context"))
    result.origin.context = parse_answer_context(origin.get<std::string>("context"));
  result.scores = read_scores(reader.member("scores"));
  const ObjectReader counts = reader.member("counts");
  result.counts = {counts.get<std::int64_t>("num_rows"),
                   counts.get<std::int64_t>("num_candidates"),
                   counts.get<std::int64_t>("num_cut_documents"),
                   counts.get<std::int64_t>("num_cut_questions"),
                   counts.get<std::int64_t>("num_shortened_prompts"),
                   counts.get<std::int64_t>("num_encoded_documents"),
                   counts.get<std::int64_t>("num_generated_tokens")};
  const ObjectReader speed = reader.member("speed");
  result.times = {speed.get<double>("total_seconds"), speed.get<double>("encode_seconds"),
                  speed.get<double>("generate_seconds")};
  return result;
}

std::string render_scores(const EvalScores& scores) {
  const auto row = [](const std::string& name, const AnswerSummary& summary) {
    return std::vector<std::string>{
        name, percent(summary.mean.exact_match), percent(summary.mean.f1),
        percent(summary.mean.cover_exact_match), percent(summary.mean.contiguous_cover_match)};
  };
  std::string text = render_markdown_table({{"protocol", "EM", "F1", "CEM", "contiguous cover"},
                                            row("first gold answer", scores.first),
                                            row("best of all gold answers", scores.best)},
                                           1);
  const RetrievalSummary& retrieval = scores.retrieval;
  if (retrieval.num_questions > 0) {
    std::vector<std::vector<std::string>> rows = {{"retrieval"}, {"recall"}, {"precision"}};
    for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
      rows[0].push_back("@" + std::to_string(RetrievalSummary::kCutoffs[i]));
      rows[1].push_back(percent(retrieval.recall[i]));
      rows[2].push_back(percent(retrieval.precision[i]));
    }
    text += "\n" + render_markdown_table(rows, 1);
  }
  text += "\nQuestions: " + std::to_string(scores.first.num_questions) +
          ". Retrieval is averaged over the " + std::to_string(retrieval.num_questions) +
          " with known gold documents; without: " + std::to_string(retrieval.num_without_gold) +
          ".\n";
  return text;
}

std::string render_report(const EvalResult& result, const std::vector<Prediction>& examples) {
  const EvalSettings& s = result.settings;
  const EvalOrigin& origin = result.origin;
  const EvalCounts& counts = result.counts;
  const EvalTimes& times = result.times;
  std::string text = "# " + s.benchmark + ", " + to_string(s.setting) + ", select " +
                     to_string(s.select) + ", context " + to_string(s.context) + "\n\n";
  text += "Scores in percent.\n\n" + render_scores(result.scores) + "\n";
  std::vector<std::vector<std::string>> facts = {
      {"what", "value"},
      {"checkpoint",
       origin.checkpoint + " (" + origin.stage + ", step " + std::to_string(origin.step) + ")"},
      {"base model", origin.base + ", " + origin.dtype + " on " + origin.device},
      {"data", origin.data},
      {"rows", std::to_string(counts.num_rows)},
      {"candidates", std::to_string(counts.num_candidates)},
      {"documents in a prompt, at most",
       s.select == DocumentSelector::kAll ? "all" : std::to_string(s.num_selected)},
      {"new tokens, at most", std::to_string(s.max_new_tokens)},
      {"seed", std::to_string(s.seed)},
      {"documents cut at the compressor's limit", std::to_string(counts.num_cut_documents)},
      {"questions cut at the query reasoner's limit", std::to_string(counts.num_cut_questions)},
      {"prompts without room for all documents", std::to_string(counts.num_shortened_prompts)},
      {"documents encoded",
       std::to_string(counts.num_encoded_documents) + ", " +
           decimals(rate(counts.num_encoded_documents, times.encode_seconds), 1) + "/s"},
      {"tokens generated",
       std::to_string(counts.num_generated_tokens) + ", " +
           decimals(rate(counts.num_generated_tokens, times.generate_seconds), 1) + "/s"},
      {"seconds", decimals(times.total_seconds, 1)},
  };
  if (!s.encoder.empty()) facts.push_back({"encoder that selects", s.encoder});
  text += render_markdown_table(facts, 2);
  if (!examples.empty()) {
    std::vector<std::vector<std::string>> rows = {{"question", "gold", "prediction", "EM", "F1"}};
    for (const Prediction& example : examples) {
      const AnswerScores scores =
          score_answer(example.prediction, example.answers, GoldProtocol::kBest);
      rows.push_back({cell_text(example.question, 90), cell_text(example.answers.front(), 40),
                      cell_text(example.prediction, 60), percent(scores.exact_match),
                      percent(scores.f1)});
    }
    text += "\nThe first rows, against the best of all gold answers:\n\n" +
            render_markdown_table(rows, 3);
  }
  return text;
}

}  // namespace clara
