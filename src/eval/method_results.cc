// Folders to results: which, under what name, question by question.
#include "clara/eval/method_results.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <sstream>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

/// A result folder and whose it is.
struct FoundResult {
  fs::path folder;
  fs::path owner;  ///< run folder or checkpoint that was evaluated, else the folder itself
  std::string given_name;
  bool is_whole_run = false;  ///< found below a run folder: its results may differ in kind
  bool is_repetition = false;
};

fs::path absolute_folder(const fs::path& path) {
  fs::path whole = fs::absolute(path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();
}

fs::path owner_of(const fs::path& folder) {
  const fs::path above = absolute_folder(folder);
  if (above.parent_path().filename() != "eval") return above;
  const fs::path owner = above.parent_path().parent_path();
  return owner.filename() == "final" ? owner.parent_path() : owner;
}

std::vector<FoundResult> find_results(const MethodSource& source) {
  const fs::path& path = source.path;
  if (fs::is_regular_file(path)) {
    const fs::path folder = absolute_folder(path).parent_path();
    return {{folder, owner_of(folder), source.name, false}};
  }
  if (fs::is_regular_file(path / "scores.json")) {
    return {{absolute_folder(path), owner_of(path), source.name, false}};
  }
  std::vector<FoundResult> found;
  if (fs::is_directory(path / "eval")) {
    for (const auto& entry : fs::directory_iterator(path / "eval")) {
      if (!fs::is_regular_file(entry.path() / "scores.json")) continue;
      const fs::path folder = absolute_folder(entry.path());
      found.push_back({folder, owner_of(folder), source.name, true});
    }
  }
  if (found.empty()) {
    throw DataError(path.string() +
                    ": expected a scores.json, a folder with one, or a run folder with "
                    "eval/*/scores.json, found " +
                    (fs::exists(path) ? "none of these" : "nothing") +
                    "; run clara-eval --run first");
  }
  std::sort(found.begin(), found.end(),
            [](const FoundResult& a, const FoundResult& b) { return a.folder < b.folder; });
  return found;
}

/// The last `count` parts of a path.
std::string last_parts(const fs::path& path, std::size_t count) {
  std::vector<std::string> parts;
  for (const fs::path& part : path.relative_path()) parts.push_back(part.string());
  std::string text;
  for (std::size_t i = parts.size() > count ? parts.size() - count : 0; i < parts.size(); ++i) {
    text += (text.empty() ? "" : "/") + parts[i];
  }
  return text.empty() ? path.string() : text;
}

/// The folders' last names, or as much of their paths as tells them all apart.
std::map<fs::path, std::string> names_of(const std::vector<fs::path>& folders) {
  std::map<fs::path, std::string> names;
  for (std::size_t count = 1;; ++count) {
    std::map<std::string, std::size_t> uses;
    std::size_t longest = 0;
    for (const fs::path& folder : folders) {
      names[folder] = last_parts(folder, count);
      const fs::path parts = folder.relative_path();
      longest =
          std::max(longest, static_cast<std::size_t>(std::distance(parts.begin(), parts.end())));
    }
    for (const auto& [folder, name] : names) ++uses[name];
    const bool is_clear =
        std::all_of(uses.begin(), uses.end(), [](const auto& use) { return use.second == 1; });
    if (is_clear || count >= longest) return names;
  }
}

/// " (bm25, text)": what was not done as the checkpoint was trained for; else nothing.
std::string unusual_kind(const EvalResult& result) {
  const EvalSettings& settings = result.settings;
  const bool is_usual = settings.context == result.origin.context;
  if (settings.context == AnswerContext::kNone) return is_usual ? "" : " (no documents)";
  std::string kind;
  if (settings.select != default_selector(result.origin.stage)) kind = to_string(settings.select);
  if (needs_encoder(settings)) kind += " " + last_parts(settings.encoder, 1);
  if (!is_usual) kind += (kind.empty() ? "" : ", ") + to_string(settings.context);
  return kind.empty() ? "" : " (" + kind + ")";
}

/// What the questions are called: of records of this project, the name of their file.
std::string benchmark_name(const EvalResult& result) {
  fs::path file = fs::path(result.origin.data).filename();
  if (result.settings.benchmark != "records" || file.empty()) return result.settings.benchmark;
  if (file.extension() == ".gz") file = file.stem();
  return file.stem().string();
}

/// At most `max_characters` code points.
std::string cut_characters(const std::string& text, std::int64_t max_characters) {
  std::int64_t num_characters = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) == 0x80) continue;
    if (++num_characters > max_characters) return text.substr(0, i) + "…";
  }
  return text;
}

/// The different texts seen so far.
class DocumentTable {
 public:
  explicit DocumentTable(std::vector<std::string>& documents) : documents_(documents) {}

  std::int32_t place_of(const std::string& text) {
    const auto [found, is_new] =
        places_.try_emplace(text, static_cast<std::int32_t>(documents_.size()));
    if (is_new) documents_.push_back(text);
    return found->second;
  }

 private:
  std::vector<std::string>& documents_;
  std::unordered_map<std::string, std::int32_t> places_;
};

/// Sums first; finish() makes means of them.
class QuestionTable {
 public:
  explicit QuestionTable(std::vector<QuestionScores>& questions) : questions_(questions) {}

  void add(const Prediction& prediction) {
    const std::string key = prediction.id + '\0' + prediction.question;
    const auto [found, is_new] = places_.try_emplace(key, questions_.size());
    if (is_new) {
      questions_.emplace_back();
      questions_.back().id = prediction.id;
      questions_.back().question = prediction.question;
    }
    QuestionScores& question = questions_[found->second];
    const PredictionScores scores = score_prediction(prediction);
    const std::array<double, 6> answers = {
        scores.first.exact_match, scores.first.f1, scores.first.cover_exact_match,
        scores.best.exact_match,  scores.best.f1,  scores.best.cover_exact_match};
    for (std::size_t i = 0; i < answers.size(); ++i) question.answers[i] += answers[i];
    ++question.num_answers;
    if (!scores.has_recall) return;
    question.has_recall = true;
    ++num_ranked_[found->second];
    for (std::size_t i = 0; i < scores.recall.size(); ++i) question.recall[i] += scores.recall[i];
  }

  void finish() {
    for (std::size_t n = 0; n < questions_.size(); ++n) {
      QuestionScores& question = questions_[n];
      for (double& value : question.answers) value /= question.num_answers;
      if (!question.has_recall) continue;
      for (double& value : question.recall) value /= static_cast<double>(num_ranked_[n]);
    }
  }

 private:
  std::vector<QuestionScores>& questions_;
  std::unordered_map<std::string, std::size_t> places_;
  std::unordered_map<std::size_t, std::int64_t> num_ranked_;
};

/// The compression rate of the run's model, for results of before it was recorded; 0: not there.
std::int32_t rate_of_run(const fs::path& owner) {
  for (const fs::path& path : {owner / "final/clara.json", owner / "clara.json"}) {
    if (!fs::is_regular_file(path)) continue;
    const Json description = parse_json<Json>(read_file(path));
    const auto found = description.find("compression_rate");
    if (!description.is_object() || found == description.end()) continue;
    if (const auto rate = whole_number<std::int32_t>(*found)) return *rate;
  }
  return 0;
}

MethodResult read_method_result(const FoundResult& found, const ExampleLimits& limits,
                                DocumentTable& documents) {
  MethodResult method;
  method.folder = found.folder;
  method.result = read_result(found.folder / "scores.json");
  method.result.settings.benchmark = benchmark_name(method.result);
  std::int32_t& rate = method.result.origin.compression_rate;
  if (rate == 0) rate = rate_of_run(found.owner);
  const fs::path predictions = found.folder / "predictions.jsonl";
  if (!fs::exists(predictions)) return method;
  QuestionTable questions(method.questions);
  read_predictions(predictions, [&](Prediction prediction) {
    questions.add(prediction);
    ++method.num_predictions;
    if (limits.num_questions > 0 && method.num_predictions > limits.num_questions) return;
    AnswerExample example;
    for (const std::string& text : prediction.documents) {
      example.documents.push_back(
          documents.place_of(cut_characters(text, limits.max_document_characters)));
    }
    prediction.documents.clear();
    example.prediction = std::move(prediction);
    method.examples.push_back(std::move(example));
  });
  questions.finish();
  return method;
}

/// A last line that was cut off, as a killed run leaves it, is left out.
TrainingCurves read_training_curves(const fs::path& path) {
  TrainingCurves curves;
  const std::string text = read_file(path);
  std::int64_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line(text.data() + begin, end - begin);
    begin = end + 1;
    ++number;
    if (strip_whitespace(line).empty()) continue;
    const Json row = parse_json<Json>(line);
    if (!row.is_object() || !row.contains("step") || !row["step"].is_number()) {
      if (end == text.size()) break;
      throw DataError(path.string() + ":" + std::to_string(number) +
                      ": expected one JSON object with a step");
    }
    const auto step = row["step"].get<double>();
    const auto add = [&](const std::string& key, TrainingCurves::Series& series) {
      const auto found = row.find(key);
      if (found != row.end() && found->is_number()) series.emplace_back(step, found->get<double>());
    };
    add("loss", curves.loss);
    add("validation/loss", curves.validation_loss);
    for (std::size_t i = 0; i < curves.validation_recall.size(); ++i) {
      add("validation/recall@" + std::to_string(RetrievalSummary::kCutoffs[i]),
          curves.validation_recall[i]);
    }
  }
  return curves;
}

/// Means over the answers of both.
void add_repetition(const MethodResult& repetition, MethodResult& method) {
  std::unordered_map<std::string, const QuestionScores*> of_repetition;
  for (const QuestionScores& question : repetition.questions)
    of_repetition.emplace(question.key(), &question);
  for (QuestionScores& question : method.questions) {
    const auto found = of_repetition.find(question.key());
    if (found == of_repetition.end()) break;
    const QuestionScores& other = *found->second;
    const double share = static_cast<double>(other.num_answers) /
                         static_cast<double>(question.num_answers + other.num_answers);
    const auto mix = [&](auto& values, const auto& others) {
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] = (1 - share) * values[i] + share * others[i];
    };
    mix(question.answers, other.answers);
    mix(question.recall, other.recall);
    question.num_answers += other.num_answers;
    of_repetition.erase(found);
  }
  const bool is_same = repetition.questions.size() == method.questions.size();
  if (!of_repetition.empty() || !is_same || method.questions.empty()) {
    throw DataError(method.method + ": expected the same questions in the predictions.jsonl of " +
                    method.folder.string() + " and " + repetition.folder.string() +
                    ", whose scores are to be averaged, found others");
  }
  method.num_predictions += repetition.num_predictions;
}

/// Repetitions of a method become one result, at the place of the first.
void join_repetitions(const std::vector<FoundResult>& found, std::vector<MethodResult>& results) {
  std::map<std::tuple<std::string, std::string, EvalSetting>, std::size_t> firsts;
  std::vector<MethodResult> joined;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const EvalSettings& settings = results[i].result.settings;
    if (found[i].is_repetition) {
      const auto [first, is_new] = firsts.try_emplace(
          {results[i].method, settings.benchmark, settings.setting}, joined.size());
      if (!is_new) {
        add_repetition(results[i], joined[first->second]);
        continue;
      }
    }
    joined.push_back(std::move(results[i]));
  }
  results = std::move(joined);
}

void check_that_none_is_twice(const std::vector<MethodResult>& results) {
  std::map<std::tuple<std::string, std::string, EvalSetting>, const MethodResult*> seen;
  for (const MethodResult& method : results) {
    const EvalSettings& settings = method.result.settings;
    const auto [other, is_new] =
        seen.try_emplace({method.method, settings.benchmark, settings.setting}, &method);
    if (is_new) continue;
    throw ConfigError("expected one result of each method, benchmark and setting, found two of " +
                      method.method + ", " + settings.benchmark + ", " +
                      to_string(settings.setting) + ": " + other->second->folder.string() +
                      " and " + method.folder.string() +
                      "; give them names of their own: NAME=DIR");
  }
}

}  // namespace

std::vector<MethodSource> parse_method_sources(const std::string& argument) {
  const std::size_t sign = argument.find('=');
  if (sign == std::string::npos || fs::exists(argument)) return {{"", argument}};
  const std::string name = argument.substr(0, sign);
  std::string paths = argument.substr(sign + 1);
  std::vector<MethodSource> sources;
  std::error_code ignored;
  if (fs::exists(paths, ignored) || paths.find(',') == std::string::npos) {
    sources.push_back({name, paths});
  } else {
    std::istringstream list(paths + ",");
    for (std::string path; std::getline(list, path, ',');) sources.push_back({name, path, true});
  }
  const bool is_whole = std::none_of(sources.begin(), sources.end(),
                                     [](const auto& source) { return source.path.empty(); });
  if (strip_whitespace(name).empty() || !is_whole) {
    throw ConfigError("expected DIR, NAME=DIR or NAME=DIR,DIR,…, found \"" + argument + "\"");
  }
  return sources;
}

MethodResults collect_method_results(const std::vector<MethodSource>& sources,
                                     const ExampleLimits& limits) {
  std::vector<FoundResult> all;
  std::vector<fs::path> run_folders;
  for (const MethodSource& source : sources) {
    for (FoundResult& found : find_results(source)) {
      found.is_repetition = source.is_repetition;
      const bool is_known = std::any_of(all.begin(), all.end(), [&](const FoundResult& other) {
        return other.folder == found.folder && other.given_name == found.given_name;
      });
      if (is_known) continue;
      if (std::find(run_folders.begin(), run_folders.end(), found.owner) == run_folders.end())
        run_folders.push_back(found.owner);
      all.push_back(std::move(found));
    }
  }
  const std::map<fs::path, std::string> names = names_of(run_folders);

  MethodResults collected;
  DocumentTable documents(collected.documents);
  for (const FoundResult& found : all)
    collected.results.push_back(read_method_result(found, limits, documents));
  // A name that was given for a run says it all, unless the run was evaluated in several ways.
  std::map<std::string, std::set<std::string>> kinds;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].is_whole_run)
      kinds[all[i].given_name].insert(unusual_kind(collected.results[i].result));
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    MethodResult& method = collected.results[i];
    const bool is_named = !all[i].given_name.empty();
    method.method = is_named ? all[i].given_name : names.at(all[i].owner);
    if (!is_named || (all[i].is_whole_run && kinds[all[i].given_name].size() > 1))
      method.method += unusual_kind(method.result);
  }
  join_repetitions(all, collected.results);
  check_that_none_is_twice(collected.results);
  for (const fs::path& folder : run_folders) {
    const fs::path metrics = folder / "metrics.jsonl";
    if (!fs::is_regular_file(metrics)) continue;
    collected.curves.push_back(read_training_curves(metrics));
    const auto found = std::find_if(
        all.begin(), all.end(), [&](const FoundResult& result) { return result.owner == folder; });
    std::string& run = collected.curves.back().run;
    run = found->given_name.empty() ? names.at(folder) : found->given_name;
    if (found->is_repetition) run += " (" + names.at(folder) + ")";
  }
  return collected;
}

}  // namespace clara
