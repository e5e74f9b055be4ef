// The loop over groups of rows and the three files of a result.
#include "clara/eval/benchmark_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <system_error>
#include <utility>
#include <vector>

#include <torch/torch.h>
#include <unistd.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/data/records.h"
#include "clara/eval/candidates.h"
#include "clara/eval/row_answerer.h"
#include "clara/eval/score.h"
#include "clara/parallel/or_announce.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kRowsPerGroup = 64;
constexpr std::size_t kReportExamples = 10;

/// predictions.partial.jsonl, line by line.
class PredictionsFile {
 public:
  explicit PredictionsFile(fs::path path) : path_(std::move(path)), file_(path_) { check(); }

  void write(const std::string& line) { file_ << line << '\n'; }
  void flush() {
    file_.flush();
    check();
  }
  void close_and_rename(const fs::path& final_path) {
    file_.close();
    check();
    sync_path(path_);
    fs::rename(path_, final_path);
  }

 private:
  void check() const {
    if (!file_) throw Error(path_.string() + ": writing failed: " + std::strerror(errno));
  }

  fs::path path_;
  std::ofstream file_;
};

Prediction make_prediction(const QaRecord& record, const AnswerRequest& request, RowAnswer answer) {
  Prediction prediction;
  prediction.row = static_cast<std::int64_t>(request.row);
  prediction.id = record.id;
  prediction.question = record.question;
  prediction.prediction = std::move(answer.text);
  prediction.answers = record.answers;
  prediction.selected = std::move(answer.selected);
  prediction.scores = std::move(answer.scores);
  // Without documents nothing is ranked, and positives would refer to nothing.
  if (!answer.ranking.empty()) {
    prediction.ranking = std::move(answer.ranking);
    prediction.positives = request.candidates.positives;
    prediction.num_gold = request.candidates.num_gold;
    prediction.documents = request.candidates.documents;
    const auto& origins = request.candidates.origins;
    for (std::size_t k = 0; k < origins.size(); ++k) {
      if (origins[k] != static_cast<std::int32_t>(k)) prediction.origins = origins;
    }
  }
  return prediction;
}

}  // namespace

void check_output_folder(const fs::path& output, const EvalResult& planned, bool overwrite) {
  std::vector<fs::path> made;
  try {
    made = make_folders(output);
  } catch (const Error& failure) {
    throw CheckpointError(std::string(failure.what()) + "; give another one with --output");
  }
  if (!fs::is_directory(output)) {
    throw CheckpointError(output.string() +
                          ": expected an output folder, found a file; give another one with "
                          "--output");
  }
  if (::access(output.c_str(), W_OK | X_OK) != 0) {
    const std::string reason = std::strerror(errno);
    remove_empty_folders(made);
    throw CheckpointError(output.string() +
                          ": expected an output folder that can be written, found " + reason +
                          "; give another one with --output");
  }
  remove_empty_folders(made);  // a refusal that follows leaves nothing behind
  const fs::path scores = output / "scores.json";
  if (overwrite || !fs::exists(scores)) return;
  bool is_same = false;
  std::string what = "results of other settings or of another model";
  try {
    is_same = same_question(read_result(scores), planned);
  } catch (const DataError& unreadable) {
    what = "a file that cannot be read as scores (" + std::string(unreadable.what()) + ")";
  }
  if (!is_same) {
    throw ConfigError(scores.string() +
                      ": expected no results or those of the same settings, found " + what +
                      "; give another folder with --output, or --overwrite");
  }
}

void check_records(const RowSource& rows) {
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const RawRow row = rows.row(i);
    parse_qa_record(row.text, row.place);
  }
}

namespace {

/// The result so far, on rank 0.
struct Tally {
  ScoreSums sums;
  std::vector<Prediction> examples;
  double sum_exact_match = 0, sum_f1 = 0;

  void add(Prediction prediction) {
    sums.add(prediction);
    const AnswerScores scores =
        score_answer(prediction.prediction, prediction.answers, GoldProtocol::kFirst);
    sum_exact_match += scores.exact_match;
    sum_f1 += scores.f1;
    if (examples.size() < kReportExamples) examples.push_back(std::move(prediction));
  }
};

/// Answers the rows from `begin` to `end`; a line of JSON each. Adds their candidates to the count.
std::string answer_group(RowAnswerer& answerer, const RowSource& rows, const EvalSettings& settings,
                         std::int64_t begin, std::int64_t end, std::int64_t& num_candidates) {
  std::vector<QaRecord> records;
  std::vector<AnswerRequest> requests;
  for (std::int64_t i = begin; i < end; ++i) {
    const RawRow raw = rows.row(i);
    const auto row = static_cast<std::uint64_t>(i);
    records.push_back(parse_qa_record(raw.text, raw.place));
    requests.push_back({records.back().question, make_candidates(records.back(), settings, row),
                        row, raw.place.str()});
    num_candidates += static_cast<std::int64_t>(requests.back().candidates.documents.size());
  }
  std::string lines;
  if (requests.empty()) return lines;
  std::vector<RowAnswer> answers = answerer.answer(requests);
  for (std::size_t n = 0; n < requests.size(); ++n) {
    lines +=
        prediction_to_json(make_prediction(records[n], requests[n], std::move(answers[n]))) + '\n';
  }
  return lines;
}

/// What each rank counts of its own rows.
constexpr std::array kCountsOfARank = {
    &EvalCounts::num_candidates,        &EvalCounts::num_cut_documents,
    &EvalCounts::num_cut_questions,     &EvalCounts::num_shortened_prompts,
    &EvalCounts::num_encoded_documents, &EvalCounts::num_generated_tokens};

/// Everything but the communicator's own end.
EvalResult run_on_ranks(const OpenedModel& opened, const RowSource& rows, const BenchmarkRun& run,
                        Communicator& communicator,
                        const std::function<void(const EvalProgress&)>& progress) {
  const auto start = std::chrono::steady_clock::now();
  EvalResult result;
  result.settings = run.settings;
  result.origin = run.origin;
  result.origin.stage = opened.description.stage;
  result.origin.step = opened.description.step;
  result.origin.compression_rate = opened.description.compression_rate;
  result.origin.doc_max_tokens = opened.description.doc_max_tokens;
  result.origin.context = parse_answer_context(opened.description.context);
  result.origin.dtype = opened.model->base().dtype() == torch::kBFloat16 ? "bfloat16" : "float32";
  result.origin.device = opened.model->device().str();
  const bool is_first = communicator.rank() == 0;
  if (is_first) check_output_folder(run.output, result, run.overwrite);
  check_records(rows);
  for (const std::string& other : communicator.gather(std::to_string(rows.size()))) {
    if (other != std::to_string(rows.size())) {
      throw DataError(run.origin.data + ": expected the same rows on every rank, found " + other +
                      " and " + std::to_string(rows.size()));
    }
  }
  RowAnswerer answerer(opened, run.settings);  // refuses before anything is written
  std::optional<PredictionsFile> predictions;
  if (is_first) {
    fs::create_directories(run.output);
    predictions.emplace(run.output / "predictions.partial.jsonl");
  }

  Tally tally;
  std::int64_t num_candidates = 0;
  // Few rows are shared too; in each round the ranks' groups follow each other.
  const std::int64_t world = communicator.size();
  const std::int64_t group =
      std::clamp((rows.size() + world - 1) / world, std::int64_t{1}, kRowsPerGroup);
  for (std::int64_t round = 0; round < rows.size(); round += group * world) {
    communicator.set_step(round / (group * world) + 1);
    const std::int64_t begin = std::min(rows.size(), round + communicator.rank() * group);
    const std::int64_t end = std::min(rows.size(), begin + group);
    const std::vector<std::string> lines =
        communicator.gather(answer_group(answerer, rows, run.settings, begin, end, num_candidates));
    if (!is_first) continue;
    for (const std::string& of_rank : lines) {
      std::istringstream in(of_rank);
      for (std::string line; std::getline(in, line);) {
        predictions->write(line);
        tally.add(parse_prediction(line, run.output.string()));
      }
    }
    predictions->flush();
    if (progress) {
      const std::int64_t num_done = std::min(rows.size(), round + group * world);
      const auto done = static_cast<double>(num_done);
      progress({num_done, rows.size(), tally.sum_exact_match / done, tally.sum_f1 / done});
    }
  }

  EvalCounts own = answerer.counts();
  own.num_candidates = num_candidates;
  std::vector<std::int64_t> sums;
  for (std::int64_t EvalCounts::*count : kCountsOfARank) sums.push_back(own.*count);
  communicator.sum(sums);
  if (!is_first) {
    communicator.leave();
    return result;
  }
  result.scores = tally.sums.scores();
  result.counts.num_rows = rows.size();
  for (std::size_t i = 0; i < kCountsOfARank.size(); ++i)
    result.counts.*kCountsOfARank[i] = sums[i];
  result.times = answerer.times();
  result.times.total_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  // Scores of an earlier run must not stand beside these predictions.
  fs::remove(run.output / "scores.json");
  predictions->close_and_rename(run.output / "predictions.jsonl");
  write_file_atomically(run.output / "report.md", render_report(result, tally.examples));
  write_file_atomically(run.output / "scores.json", result_to_json(result));
  communicator.leave();
  return result;
}

}  // namespace

EvalResult run_benchmark(const OpenedModel& opened, const RowSource& rows, const BenchmarkRun& run,
                         const std::function<void(const EvalProgress&)>& progress) {
  SingleProcessCommunicator alone;
  Communicator& communicator = run.communicator != nullptr ? *run.communicator : alone;
  return or_announce(communicator,
                     [&] { return run_on_ranks(opened, rows, run, communicator, progress); });
}

}  // namespace clara
