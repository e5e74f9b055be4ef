// Blocks, estimates and notes of a comparison.
#include "clara/eval/comparison.h"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kNumAnswerMetrics = 6;  // the others are recall
constexpr std::size_t kNumRecallMetrics = kReportMetrics.size() - kNumAnswerMetrics;

std::string place_name(const ComparisonBlock& block) {
  return block.benchmark + ", " + to_string(block.setting);
}

/// Means of scores.json, where the predictions are not there.
void take_recorded_means(const EvalScores& scores, MetricEstimates& estimates) {
  const auto set = [&](std::size_t metric, double mean, std::int64_t num_questions) {
    estimates[metric].value = {mean, mean, mean};
    estimates[metric].num_questions = num_questions;
  };
  const std::array<const AnswerSummary*, 2> protocols = {&scores.first, &scores.best};
  for (std::size_t p = 0; p < protocols.size(); ++p) {
    const AnswerScores& mean = protocols[p]->mean;
    set(3 * p, mean.exact_match, protocols[p]->num_questions);
    set(3 * p + 1, mean.f1, protocols[p]->num_questions);
    set(3 * p + 2, mean.cover_exact_match, protocols[p]->num_questions);
  }
  for (std::size_t i = 0; i < kNumRecallMetrics; ++i)
    set(kNumAnswerMetrics + i, scores.retrieval.recall[i], scores.retrieval.num_questions);
}

/// Scores question by question, as bootstrap_means takes them.
struct ScoreColumns {
  std::vector<double> answers;
  std::vector<double> recall;

  void add_answers(const QuestionScores& question) {
    answers.insert(answers.end(), question.answers.begin(), question.answers.end());
  }
  void add_recall(const QuestionScores& question) {
    recall.insert(recall.end(), question.recall.begin(), question.recall.end());
  }
};

void take_intervals(const std::vector<double>& values, std::size_t num_columns, std::size_t first,
                    const ResamplingSettings& resampling, MetricEstimates& estimates) {
  if (values.empty()) return;
  const std::vector<MeanInterval> intervals = bootstrap_means(values, num_columns, resampling);
  for (std::size_t c = 0; c < num_columns; ++c) {
    MetricEstimate& estimate = estimates[first + c];
    estimate.value = intervals[c];
    estimate.has_interval = true;
    estimate.num_questions = static_cast<std::int64_t>(values.size() / num_columns);
  }
}

MetricEstimates estimate_alone(const MethodResult& method, const ResamplingSettings& resampling) {
  MetricEstimates estimates;
  if (method.questions.empty()) {
    take_recorded_means(method.result.scores, estimates);
    return estimates;
  }
  ScoreColumns columns;
  for (const QuestionScores& question : method.questions) {
    columns.add_answers(question);
    if (question.has_recall) columns.add_recall(question);
  }
  take_intervals(columns.answers, kNumAnswerMetrics, 0, resampling, estimates);
  take_intervals(columns.recall, kNumRecallMetrics, kNumAnswerMetrics, resampling, estimates);
  return estimates;
}

void take_comparisons(const std::vector<double>& a, const std::vector<double>& b,
                      std::size_t num_columns, std::size_t first,
                      const ResamplingSettings& resampling, MetricEstimates& estimates) {
  if (a.empty()) return;
  const auto comparisons = compare_paired_columns(a, b, num_columns, resampling);
  for (std::size_t c = 0; c < num_columns; ++c) {
    estimates[first + c].against_baseline = comparisons[c];
    estimates[first + c].num_paired = static_cast<std::int64_t>(a.size() / num_columns);
  }
}

/// Compares a method with the baseline on the questions that both answered; returns their number.
std::int64_t compare_with_baseline(const MethodResult& method, const MethodResult& baseline,
                                   const std::string& place, const ResamplingSettings& resampling,
                                   MetricEstimates& estimates) {
  std::unordered_map<std::string, const QuestionScores*> of_baseline;
  std::unordered_map<std::string, const QuestionScores*> by_id;
  for (const QuestionScores& question : baseline.questions) {
    of_baseline.emplace(question.key(), &question);
    if (!question.id.empty()) by_id.emplace(question.id, &question);
  }
  ScoreColumns a, b;
  std::int64_t num_common = 0;
  for (const QuestionScores& question : method.questions) {
    const auto found = of_baseline.find(question.key());
    if (found == of_baseline.end()) {
      const auto same_id = by_id.find(question.id);
      if (same_id == by_id.end()) continue;
      throw DataError(place + ": expected the same question under the id " + question.id +
                      ", found \"" + question.question + "\" in " + method.folder.string() +
                      " and \"" + same_id->second->question + "\" in " + baseline.folder.string() +
                      "; compare results of the same data");
    }
    ++num_common;
    a.add_answers(question);
    b.add_answers(*found->second);
    if (question.has_recall && found->second->has_recall) {
      a.add_recall(question);
      b.add_recall(*found->second);
    }
  }
  if (num_common == 0) {
    throw DataError(place + ": expected questions that " + method.method + " and the baseline " +
                    baseline.method + " both answered, found none in " + method.folder.string() +
                    " (" + std::to_string(method.questions.size()) + ") and " +
                    baseline.folder.string() + " (" + std::to_string(baseline.questions.size()) +
                    "); compare results of the same data");
  }
  take_comparisons(a.answers, b.answers, kNumAnswerMetrics, 0, resampling, estimates);
  take_comparisons(a.recall, b.recall, kNumRecallMetrics, kNumAnswerMetrics, resampling, estimates);
  return num_common;
}

void make_blocks(Comparison& comparison) {
  std::vector<std::string> benchmarks;
  for (const MethodResult& result : comparison.source.results) {
    const std::string& benchmark = result.result.settings.benchmark;
    if (std::find(benchmarks.begin(), benchmarks.end(), benchmark) == benchmarks.end())
      benchmarks.push_back(benchmark);
    auto& methods = comparison.methods;
    if (std::find(methods.begin(), methods.end(), result.method) == methods.end())
      methods.push_back(result.method);
  }
  for (const std::string& benchmark : benchmarks) {
    for (const EvalSetting setting : {EvalSetting::kNormal, EvalSetting::kOracle}) {
      ComparisonBlock block{benchmark, setting, {}, {}};
      bool has_results = false;
      for (const std::string& method : comparison.methods) {
        block.results.push_back(nullptr);
        for (const MethodResult& result : comparison.source.results) {
          const EvalSettings& settings = result.result.settings;
          if (result.method != method || settings.benchmark != benchmark ||
              settings.setting != setting) {
            continue;
          }
          block.results.back() = &result;
          has_results = true;
        }
      }
      if (has_results) comparison.blocks.push_back(std::move(block));
    }
  }
}

/// Notes about one result: what its numbers lack.
void note_result(const MethodResult& method, const std::string& place,
                 std::vector<std::string>& notes) {
  if (method.questions.empty()) {
    notes.push_back(method.method + " (" + place +
                    "): no predictions.jsonl beside its scores.json: means without interval, test "
                    "or examples.");
    return;
  }
  const auto num_questions = static_cast<std::int64_t>(method.questions.size());
  if (method.num_predictions != num_questions) {
    notes.push_back(method.method + " (" + place + "): " + std::to_string(method.num_predictions) +
                    " answers to " + std::to_string(num_questions) +
                    " questions: a question's score is the mean of its answers'.");
  }
}

/// Where methods answered different numbers of questions.
void note_question_counts(const Comparison& comparison, const ComparisonBlock& block,
                          std::vector<std::string>& notes) {
  std::string counts;
  std::int64_t first_count = -1;
  bool differs = false;
  for (std::size_t m = 0; m < block.results.size(); ++m) {
    if (block.results[m] == nullptr) continue;
    const std::int64_t count = block.estimates[m][0].num_questions;
    if (first_count < 0) first_count = count;
    differs = differs || count != first_count;
    counts += (counts.empty() ? "" : ", ") + comparison.methods[m] + " " + std::to_string(count);
  }
  if (differs)
    notes.push_back(place_name(block) + ": different numbers of questions: " + counts + ".");
}

}  // namespace

Comparison compare_methods(MethodResults results, const ComparisonSettings& settings,
                           const std::function<void(std::int64_t)>& progress) {
  Comparison comparison;
  comparison.source = std::move(results);
  comparison.settings = settings;
  make_blocks(comparison);
  const std::vector<std::string>& methods = comparison.methods;
  const auto baseline = std::find(methods.begin(), methods.end(), settings.baseline);
  if (!settings.baseline.empty() && baseline == methods.end()) {
    std::string names;
    for (const std::string& name : methods) names += (names.empty() ? "" : ", ") + name;
    throw ConfigError("baseline: expected one of the methods (" + names + "), found \"" +
                      settings.baseline + "\"");
  }
  std::int64_t num_done = 0;
  for (ComparisonBlock& block : comparison.blocks) {
    const std::string place = place_name(block);
    const MethodResult* base =
        settings.baseline.empty()
            ? nullptr
            : block.results[static_cast<std::size_t>(baseline - methods.begin())];
    if (!settings.baseline.empty() && (base == nullptr || base->questions.empty())) {
      comparison.notes.push_back(place + ": no predictions of the baseline " + settings.baseline +
                                 ": no test.");
    }
    for (const MethodResult* result : block.results) {
      block.estimates.emplace_back();
      if (result == nullptr) continue;
      if (progress) progress(num_done++);
      block.estimates.back() = estimate_alone(*result, settings.resampling);
      note_result(*result, place, comparison.notes);
      if (base == nullptr || base == result || base->questions.empty() ||
          result->questions.empty()) {
        continue;
      }
      const std::int64_t num_common =
          compare_with_baseline(*result, *base, place, settings.resampling, block.estimates.back());
      const auto num_own = static_cast<std::int64_t>(result->questions.size());
      const auto num_base = static_cast<std::int64_t>(base->questions.size());
      if (num_common != num_own || num_common != num_base) {
        comparison.notes.push_back(place + ": " + result->method + " (" + std::to_string(num_own) +
                                   " questions) and " + base->method + " (" +
                                   std::to_string(num_base) + ") are compared on the " +
                                   std::to_string(num_common) + " that both answered.");
      }
    }
    note_question_counts(comparison, block, comparison.notes);
  }
  if (progress) progress(num_done);
  return comparison;
}

}  // namespace clara
