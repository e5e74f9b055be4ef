// Rows of the next step are read and tokenised while this one computes.
#include "clara/trainer/train_loop.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <future>
#include <memory>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/trainer/lr_schedule.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kTrainedRows = "trained_rows";
constexpr const char* kCutDocuments = "cut_documents";
constexpr const char* kCutAnswers = "cut_answers";
constexpr const char* kDroppedDocuments = "dropped_documents";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// This rank's rows of one step.
struct StepRows {
  std::vector<Example> rows;
  std::int64_t num_cut_documents = 0;
  std::int64_t num_cut_answers = 0;
  std::int64_t num_dropped_documents = 0;
};

StepRows read_step(TrainingData& data, const TrainerConfig& config, std::int64_t step,
                   std::int64_t rank, std::int64_t size) {
  const std::int64_t rows_per_epoch = data.rows_per_epoch();
  const std::int64_t steps_per_epoch =
      (rows_per_epoch + config.rows_per_step - 1) / config.rows_per_step;
  const std::int64_t epoch = step / steps_per_epoch;
  const std::int64_t begin = step % steps_per_epoch * config.rows_per_step;
  const std::int64_t end = std::min(begin + config.rows_per_step, rows_per_epoch);
  StepRows result;
  for (std::int64_t position = begin + rank; position < end; position += size) {
    std::optional<Example> row = data.row(epoch, position);
    if (!row) continue;
    result.num_cut_documents += row->num_cut_documents;
    result.num_cut_answers += row->cut_answer ? 1 : 0;
    result.num_dropped_documents += row->num_dropped_documents;
    result.rows.push_back(std::move(*row));
  }
  return result;
}

/// Keeps one step's rows in the making.
class StepReader {
 public:
  StepReader(TrainingData& data, const TrainerConfig& config, const Communicator& communicator,
             std::int64_t total_steps)
      : data_(data),
        config_(config),
        rank_(communicator.rank()),
        size_(communicator.size()),
        total_steps_(total_steps) {}

  /// Rows of `step`; starts on those of the next.
  StepRows take(std::int64_t step) {
    if (!next_.valid()) start(step);
    StepRows rows = next_.get();
    if (step + 1 < total_steps_) start(step + 1);
    return rows;
  }

 private:
  void start(std::int64_t step) {
    next_ = std::async(std::launch::async,
                       [this, step] { return read_step(data_, config_, step, rank_, size_); });
  }
  TrainingData& data_;
  const TrainerConfig& config_;
  std::int64_t rank_, size_, total_steps_;
  std::future<StepRows> next_;
};

/// What rank 0 computed, for decisions that all ranks must take alike. A collective.
MetricRow metrics_of_rank_0(Communicator& communicator, const MetricRow& own) {
  std::string bytes;
  for (const auto& [name, value] : own) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value).append(name).push_back('\n');
  }
  bytes = communicator.gather(bytes)[0];
  MetricRow row;
  for (std::size_t begin = 0; begin < bytes.size();) {
    double value = 0;
    std::memcpy(&value, bytes.data() + begin, sizeof value);
    const std::size_t name = begin + sizeof value;
    const std::size_t end = bytes.find('\n', name);
    row.emplace(bytes.substr(name, end - name), value);
    begin = end + 1;
  }
  return row;
}

bool is_better(const KeepBestConfig& keep, double value,
               const std::optional<BestCheckpoint>& best) {
  if (!best) return true;
  return keep.mode == "min" ? value < best->value : value > best->value;
}

/// One run: its state between steps and what it does with it.
class Run {
 public:
  Run(const TrainLoopInputs& in, TrainObserver& observer)
      : in_(in),
        observer_(observer),
        checkpoints_(fs::path(in.output.folder) / "checkpoints"),
        optimizer_(in.objective.trained_parameters(), in.trainer),
        sync_(in.communicator, optimizer_.gradients(), optimizer_.gradient_segments(),
              in.bucket_bytes),
        is_first_rank_(in.communicator.rank() == 0),
        total_steps_(count_total_steps(in.trainer, in.data.rows_per_epoch())),
        schedule_(in.trainer, total_steps_) {
    std::error_code error;
    fs::create_directories(checkpoints_, error);
    if (error)
      throw CheckpointError(in.output.folder +
                            ": the run folder cannot be created: " + error.message());
    state_.total_steps = total_steps_;
    state_.config_yaml = in.config_yaml;
    if (in.resume) {
      TrainState loaded = load_checkpoint(*in.resume, in.model);
      optimizer_.load_state(loaded.optimizer);
      state_.step = loaded.step;
      state_.best = loaded.best;
      state_.counters = loaded.counters;
    }
  }

  TrainLoopResult train() {
    try {
      return run_steps();
    } catch (const Error& error) {
      observer_.on_error(error.what());
      tell_last_checkpoint();
      throw;
    }
  }

 private:
  TrainLoopResult run_steps() {
    if (is_first_rank_) {
      log_ = std::make_unique<MetricsLog>(in_.output.folder, in_.logging.tensorboard,
                                          in_.resume ? state_.step : -1);
    }
    TrainLoopResult result;
    if (state_.step == 0) result.last_validation = validate();
    StepReader reader(in_.data, in_.trainer, in_.communicator, total_steps_);
    while (state_.step < total_steps_) {
      MetricRow metrics;
      try {
        metrics = step(reader);
      } catch (const Error&) {
        // The parameters are those of the last finished step: keep them before the error ends the
        // run.
        if (state_.step > 0 && last_saved_ != state_.step) save();
        throw;
      }
      const bool last = state_.step == total_steps_;
      const bool stop = stop_requested_;
      if (last || state_.step % std::max<std::int64_t>(in_.logging.every_steps, 1) == 0)
        write_metrics(metrics);
      observer_.on_step(state_.step, total_steps_, metrics);
      if (last || (in_.trainer.validate_every_steps > 0 &&
                   state_.step % in_.trainer.validate_every_steps == 0)) {
        result.last_validation = validate();
      }
      if (last || stop ||
          (in_.output.save_every_steps > 0 && state_.step % in_.output.save_every_steps == 0))
        save();
      if (stop && !last) {
        result.stopped = true;
        break;
      }
    }
    report_cuts();
    if (!result.stopped && is_first_rank_) export_final();
    result.step = state_.step;
    return result;
  }

  MetricRow step(StepReader& reader) {
    const Clock::time_point start = Clock::now();
    in_.communicator.set_step(state_.step + 1);
    const StepRows rows = reader.take(state_.step);
    const double waited = seconds_since(start);
    const StepSettings settings{in_.trainer.rows_per_micro_batch,
                                in_.trainer.max_tokens_per_micro_batch, in_.trainer.seed};
    if (in_.prepare_rows) in_.prepare_rows(rows.rows);
    const StepResult result = train_step(in_.objective, optimizer_, sync_, rows.rows, state_.step,
                                         schedule_.rate(state_.step), settings);
    check_any_row(result.rows);
    std::vector<std::int64_t> sums = {rows.num_cut_documents, rows.num_cut_answers,
                                      rows.num_dropped_documents,
                                      in_.should_stop && in_.should_stop() ? 1 : 0};
    in_.communicator.sum(sums);
    stop_requested_ = sums[3] > 0;
    ++state_.step;
    const double seconds = seconds_since(start);
    MetricRow metrics = {
        {"loss", result.loss},
        {"learning_rate", result.learning_rate},
        {"gradient_norm", result.gradient_norm},
        {"epoch", static_cast<double>(state_.step) / static_cast<double>(total_steps_) *
                      static_cast<double>(in_.trainer.num_epochs)},
        {"rows", static_cast<double>(result.rows)},
        {"tokens", static_cast<double>(result.tokens)},
        {"answer_tokens", static_cast<double>(result.answer_tokens)},
        {"micro_batches", static_cast<double>(result.micro_batches)},
        {"seconds", seconds},
        {"data_wait_seconds", waited},
        {"rows_per_second", static_cast<double>(result.rows) / seconds},
        {"tokens_per_second", static_cast<double>(result.tokens) / seconds},
        {"answer_tokens_per_second", static_cast<double>(result.answer_tokens) / seconds}};
    for (const auto& [name, value] : result.terms) metrics[name] = value;
    for (const TermSpec& term : in_.objective.terms(state_.step - 1)) {
      if (term.weight != 1 && term.weight != 0)
        metrics["weighted_" + term.name] = term.weight * result.terms.at(term.name);
    }
    state_.counters[kCutDocuments] += sums[0];
    state_.counters[kCutAnswers] += sums[1];
    state_.counters[kDroppedDocuments] += sums[2];
    for (const auto& [name, count] : state_.counters) {
      if (count > 0 && name != kTrainedRows) metrics[name + "_total"] = static_cast<double>(count);
    }
    return metrics;
  }

  void write_metrics(const MetricRow& row) {
    if (log_ != nullptr) log_->write(state_.step, row);
  }

  /// Every rank computes the same; rank 0's numbers count.
  MetricRow validate() {
    if (in_.validation.empty()) return {};
    if (in_.prepare_rows) in_.prepare_rows(in_.validation);
    MetricRow row;
    for (const auto& [name, value] :
         in_.objective.validate(in_.validation, in_.trainer.max_tokens_per_micro_batch)) {
      row["validation/" + name] = value;
    }
    row = metrics_of_rank_0(in_.communicator, row);
    write_metrics(row);
    observer_.on_validation(state_.step, row);
    if (in_.output.keep_best && state_.step > 0) {
      const auto it = row.find(in_.output.keep_best->metric);
      if (it == row.end()) {
        observer_.on_message("output.keep_best: this validation has no metric " +
                             in_.output.keep_best->metric);
      } else if (is_better(*in_.output.keep_best, it->second, state_.best)) {
        state_.best = {it->first, it->second, state_.step};
        save();
      }
    }
    return row;
  }

  void save() {
    if (last_saved_ == state_.step) return;
    if (!is_first_rank_) {
      last_saved_ = state_.step;
      return;
    }
    state_.optimizer = optimizer_.state();
    ModelDescription description = in_.description;
    description.step = state_.step;
    save_checkpoint(checkpoints_, in_.model, description, state_);
    state_.optimizer.clear();
    last_saved_ = state_.step;
    apply_retention(checkpoints_, in_.output.keep_last,
                    state_.best ? std::optional<std::int64_t>(state_.best->step) : std::nullopt);
  }

  void tell_last_checkpoint() {
    for (const fs::path& checkpoint : list_checkpoints(checkpoints_)) {
      if (find_checkpoint_damage(checkpoint)) continue;
      observer_.on_message("last checkpoint " + checkpoint.string() + "; go on with --resume auto");
      return;
    }
    observer_.on_message("no checkpoint was written yet");
  }

  /// Skipping bad rows must not hide that all of them are bad.
  void check_any_row(std::int64_t rows_of_step) {
    state_.counters[kTrainedRows] += rows_of_step;
    if (state_.step + 1 == total_steps_ && state_.counters[kTrainedRows] == 0) {
      throw DataError(
          "every one of the training rows is bad: nothing was trained (data.on_bad_record is skip; "
          "the rows are listed above)");
    }
  }

  /// Nothing is shortened silently.
  void report_cuts() {
    const auto tell = [&](const char* counter, const std::string& what) {
      const std::int64_t count = state_.counters[counter];
      if (count > 0) observer_.on_message(std::to_string(count) + " " + what);
    };
    tell(kCutDocuments,
         "documents were longer than model.doc_max_tokens and were cut on the right");
    tell(kCutAnswers, "answers were cut on the right to trainer.max_sequence_tokens");
    tell(kDroppedDocuments,
         "documents beyond objective.num_selected were left out of their rows' prompts");
  }

  void export_final() {
    const fs::path folder = fs::path(in_.output.folder) / "final";
    const fs::path temporary = fs::path(in_.output.folder) / ".tmp_final";
    try {
      fs::remove_all(temporary);
      fs::create_directories(temporary);
      ModelDescription description = in_.description;
      description.step = state_.step;
      save_model_files(temporary, in_.model, description);
      fs::remove_all(folder);
      fs::rename(temporary, folder);
      sync_path(in_.output.folder);
    } catch (const fs::filesystem_error& error) {
      throw CheckpointError(folder.string() +
                            ": the trained model could not be written: " + error.what() +
                            "; the last checkpoint in " + checkpoints_.string() + " holds it");
    }
  }

  const TrainLoopInputs& in_;
  TrainObserver& observer_;
  fs::path checkpoints_;
  AdamW optimizer_;
  GradientSync sync_;
  bool is_first_rank_;
  std::unique_ptr<MetricsLog> log_;  // rank 0 alone writes
  bool stop_requested_ = false;
  std::int64_t total_steps_;
  LearningRateSchedule schedule_;
  TrainState state_;
  std::int64_t last_saved_ = -1;
};

}  // namespace

std::int64_t count_total_steps(const TrainerConfig& config, std::int64_t rows_per_epoch) {
  const std::int64_t total =
      config.num_epochs * ((rows_per_epoch + config.rows_per_step - 1) / config.rows_per_step);
  return config.max_steps > 0 ? std::min(total, config.max_steps) : total;
}

TrainLoopResult train_loop(const TrainLoopInputs& inputs, TrainObserver& observer) {
  return Run(inputs, observer).train();
}

}  // namespace clara
