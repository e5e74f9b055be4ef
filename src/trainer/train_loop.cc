// Rows of the next step are read and tokenised while this one computes.
#include "clara/trainer/train_loop.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <future>
#include <memory>
#include <type_traits>

#include <ATen/record_function.h>

#include "clara/checkpoint/checkpoint_writer.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/trainer/lr_schedule.h"
#include "clara/trainer/step_profile.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kTrainedRows = "trained_rows";
constexpr const char* kCutDocuments = "cut_documents";
constexpr const char* kCutQuestions = "cut_questions";
constexpr const char* kCutAnswers = "cut_answers";
constexpr const char* kDroppedDocuments = "dropped_documents";

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// This rank's rows of one step.
struct StepRows {
  std::vector<Example> rows;
  std::int64_t num_cut_documents = 0;
  std::int64_t num_cut_questions = 0;
  std::int64_t num_cut_answers = 0;
  std::int64_t num_dropped_documents = 0;
};

/// Where a step's rows begin.
struct DataCursor {
  std::int64_t epoch = 0;
  std::int64_t position = 0;
};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// The cursor behind a step; a step never reaches into the next epoch.
DataCursor behind_step(const DataCursor& cursor, std::int64_t rows_per_step,
                       std::int64_t rows_per_epoch) {
  const std::int64_t end = cursor.position + rows_per_step;
  return end < rows_per_epoch ? DataCursor{cursor.epoch, end} : DataCursor{cursor.epoch + 1, 0};
}

/// Where a checkpoint that does not say it left the data: its step counted from the start.
DataCursor cursor_of_step(std::int64_t step, std::int64_t rows_per_step,
                          std::int64_t rows_per_epoch) {
  const std::int64_t steps_per_epoch = ceil_div(rows_per_epoch, rows_per_step);
  return {step / steps_per_epoch, step % steps_per_epoch * rows_per_step};
}

/// Steps from a cursor to the end of the last epoch.
std::int64_t count_steps_from(const DataCursor& cursor, const TrainerConfig& config,
                              std::int64_t rows_per_epoch) {
  if (cursor.epoch >= config.num_epochs) return 0;
  return ceil_div(rows_per_epoch - cursor.position, config.rows_per_step) +
         (config.num_epochs - cursor.epoch - 1) * ceil_div(rows_per_epoch, config.rows_per_step);
}

StepRows read_step(TrainingData& data, const TrainerConfig& config, const DataCursor& cursor,
                   std::int64_t rank, std::int64_t size) {
  const std::int64_t end = std::min(cursor.position + config.rows_per_step, data.rows_per_epoch());
  StepRows result;
  for (const std::int64_t position :
       positions_of_rank(data, {cursor.epoch, cursor.position, end}, rank, size)) {
    std::optional<Example> row = data.row(cursor.epoch, position);
    if (!row) continue;
    result.num_cut_documents += row->num_cut_documents;
    result.num_cut_questions += row->cut_question ? 1 : 0;
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
             DataCursor start)
      : data_(data),
        config_(config),
        rank_(communicator.rank()),
        size_(communicator.size()),
        next_cursor_(start) {}

  /// Rows of the step at the cursor, which moves on; starts on those of the step behind it unless
  /// this is the last one.
  StepRows take(bool is_last) {
    if (!next_.valid()) start();
    StepRows rows = next_.get();
    next_cursor_ = behind_step(next_cursor_, config_.rows_per_step, data_.rows_per_epoch());
    if (!is_last) start();
    return rows;
  }

  /// Where the rows begin that take has not given out.
  const DataCursor& cursor() const { return next_cursor_; }

 private:
  void start() {
    next_ = std::async(std::launch::async, [this, cursor = next_cursor_] {
      return read_step(data_, config_, cursor, rank_, size_);
    });
  }
  TrainingData& data_;
  const TrainerConfig& config_;
  std::int64_t rank_, size_;
  DataCursor next_cursor_;
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
  if (!std::isfinite(value)) return false;
  if (!best) return true;
  return keep.mode == "min" ? value < best->value : value > best->value;
}

/// One run: its state between steps and what it does with it.
class Run {
 public:
  Run(const TrainLoopInputs& in, TrainObserver& observer)
      : in_(in),
        observer_(observer),
        optimizer_(in.objective.trained_parameters(), in.trainer),
        sync_(in.communicator, optimizer_.gradients(), optimizer_.gradient_segments(),
              in.bucket_bytes),
        is_first_rank_(in.communicator.rank() == 0),
        state_(load_state()),
        reader_(in.data, in.trainer, in.communicator, {*state_.epoch, *state_.position}),
        schedule_(in.trainer, state_.total_steps),
        profile_(is_first_rank_ ? in.profile_steps : 0, fs::path(in.output.folder) / "profile") {
    if (!is_first_rank_) return;
    writer_ = std::make_unique<CheckpointWriter>(fs::path(in.output.folder) / "checkpoints",
                                                 in.output.keep_last);
    std::error_code error;
    fs::create_directories(writer_->folder(), error);
    if (error)
      throw CheckpointError(in.output.folder +
                            ": the run folder cannot be created: " + error.message());
    tidy_checkpoints_of_resume();
  }

  TrainLoopResult train() {
    try {
      return run_steps();
    } catch (const Error& error) {
      observer_.on_error(error.what());
      if (writer_ != nullptr) {
        writer_->wait();
        tell_last_checkpoint();
      }
      throw;
    }
  }

 private:
  /// The state to start from: that of the checkpoint, or of step 0.
  TrainState load_state() {
    TrainState state;
    if (in_.resume) {
      state = load_checkpoint(*in_.resume, in_.model);
      optimizer_.load_state(state.optimizer);
      state.optimizer.clear();
    }
    const std::int64_t rows_per_epoch = in_.data.rows_per_epoch();
    DataCursor cursor = cursor_of_step(state.step, in_.trainer.rows_per_step, rows_per_epoch);
    if (state.epoch && state.position) cursor = {*state.epoch, *state.position};
    // Fewer rows than before (a change that was allowed): the epoch is over.
    if (cursor.position >= rows_per_epoch) cursor = {cursor.epoch + 1, 0};
    state.epoch = cursor.epoch;
    state.position = cursor.position;
    const std::int64_t total = state.step + count_steps_from(cursor, in_.trainer, rows_per_epoch);
    state.total_steps = in_.trainer.max_steps > 0
                            ? std::min(total, std::max(in_.trainer.max_steps, state.step))
                            : total;
    state.config_yaml = in_.config_yaml;
    state.inputs = in_.input_fingerprints;
    return state;
  }

  /// Checkpoints that were written after the one to go on from belong to a run that this one is no
  /// longer: the next --resume auto must not take them. What else a kill left is cleared away.
  void tidy_checkpoints_of_resume() {
    std::error_code error;
    if (!in_.resume || !fs::equivalent(in_.resume->parent_path(), writer_->folder(), error)) return;
    for (const fs::path& path : set_later_checkpoints_aside(writer_->folder(), state_.step))
      observer_.on_message("warning: a checkpoint after step " + std::to_string(state_.step) +
                           " was set aside as " + path.string());
    // A kill may have come between a save and the deletions after it.
    apply_retention(writer_->folder(), in_.output.keep_last,
                    state_.best ? std::optional<std::int64_t>(state_.best->step) : std::nullopt);
  }

  TrainLoopResult run_steps() {
    if (is_first_rank_) {
      log_ = std::make_unique<MetricsLog>(
          in_.output.folder, in_.logging.tensorboard,
          in_.resume ? std::optional<LogCut>(LogCut{state_.step, state_.is_validation_due})
                     : std::nullopt);
    }
    last_saved_ = in_.resume ? state_.step : -1;
    in_.communicator.set_step(state_.step);
    TrainLoopResult result;
    if (state_.step == 0 || state_.is_validation_due) result.last_validation = validate();
    while (state_.step < state_.total_steps) {
      profile_.begin_step();
      const MetricRow metrics = or_save([&] { return step(); });
      const bool last = state_.step == state_.total_steps;
      if (last || state_.step % std::max<std::int64_t>(in_.logging.every_steps, 1) == 0)
        log_row(metrics);
      observer_.on_step(state_.step, state_.total_steps, metrics);
      state_.is_validation_due = last || (in_.trainer.validate_every_steps > 0 &&
                                          state_.step % in_.trainer.validate_every_steps == 0);
      const bool stop = !last && or_save([&] { return is_stop_requested(); });
      // Who stops a run does not wait for a validation: it is made up for when the run goes on.
      if (state_.is_validation_due && !stop)
        result.last_validation = or_save([&] { return validate(); });
      if (last || stop ||
          (in_.output.save_every_steps > 0 && state_.step % in_.output.save_every_steps == 0))
        save();
      if (const auto profile = profile_.end_step(last || stop))
        observer_.on_message(render_profile(*profile));
      if (stop) {
        result.stopped = true;
        break;
      }
      handle_failed_save();
    }
    report_cuts();
    finish_saves();
    if (!result.stopped && is_first_rank_) export_final();
    result.step = state_.step;
    return result;
  }

  StepRows take_rows() {
    RECORD_USER_SCOPE("clara::load");
    return reader_.take(state_.step + 1 == state_.total_steps);
  }

  double latent_store_seconds() const {
    return in_.latent_store_seconds ? in_.latent_store_seconds() : 0;
  }

  MetricRow step() {
    const Clock::time_point start = Clock::now();
    in_.communicator.set_step(state_.step + 1);
    const StepRows rows = take_rows();
    const double waited = seconds_since(start);
    const StepSettings settings{in_.trainer.rows_per_micro_batch,
                                in_.trainer.max_tokens_per_micro_batch, in_.trainer.seed};
    std::vector<std::int64_t> cuts = {rows.num_cut_documents, rows.num_cut_questions,
                                      rows.num_cut_answers, rows.num_dropped_documents};
    in_.communicator.sum(cuts);
    const double store_before = latent_store_seconds();
    if (in_.prepare_rows) in_.prepare_rows(rows.rows);
    const StepResult result = train_step(in_.objective, optimizer_, sync_, rows.rows, state_.step,
                                         schedule_.rate(state_.step), settings);
    check_any_row(result.rows);
    ++state_.step;
    state_.epoch = reader_.cursor().epoch;
    state_.position = reader_.cursor().position;
    state_.counters[kCutDocuments] += cuts[0];
    state_.counters[kCutQuestions] += cuts[1];
    state_.counters[kCutAnswers] += cuts[2];
    state_.counters[kDroppedDocuments] += cuts[3];
    const double seconds = seconds_since(start);
    MetricRow metrics = {
        {"loss", result.loss},
        {"learning_rate", result.learning_rate},
        {"gradient_norm", result.gradient_norm},
        {"epoch", static_cast<double>(state_.step) / static_cast<double>(steps_per_epoch())},
        {"rows", static_cast<double>(result.rows)},
        {"tokens", static_cast<double>(result.tokens)},
        {"answer_tokens", static_cast<double>(result.answer_tokens)},
        {"micro_batches", static_cast<double>(result.micro_batches)},
        {"seconds", seconds},
        {"data_wait_seconds", waited},
        {"rows_per_second", static_cast<double>(result.rows) / seconds},
        {"tokens_per_second", static_cast<double>(result.tokens) / seconds},
        {"answer_tokens_per_second", static_cast<double>(result.answer_tokens) / seconds}};
    if (in_.latent_store_seconds)
      metrics["latent_wait_seconds"] = latent_store_seconds() - store_before;
    for (const auto& [name, value] : result.terms) metrics[name] = value;
    for (const TermSpec& term : in_.objective.terms(state_.step - 1)) {
      if (term.weight != 1 && term.weight != 0)
        metrics["weighted_" + term.name] = term.weight * result.terms.at(term.name);
    }
    for (const auto& [name, count] : state_.counters) {
      if (count > 0 && name != kTrainedRows) metrics[name + "_total"] = static_cast<double>(count);
    }
    // How long saving has held up the loop since the last row.
    if (save_stall_seconds_ > 0) metrics["save_stall_seconds"] = save_stall_seconds_;
    return metrics;
  }

  /// On any rank. After all else of a step: a peer's failure shows in any collective, and what is
  /// saved and logged then must be whole.
  bool is_stop_requested() {
    std::vector<std::int64_t> num_stopping = {in_.should_stop && in_.should_stop() ? 1 : 0};
    in_.communicator.sum(num_stopping);
    return num_stopping[0] > 0;
  }

  std::int64_t steps_per_epoch() const {
    return ceil_div(in_.data.rows_per_epoch(), in_.trainer.rows_per_step);
  }

  void log_row(const MetricRow& row) {
    if (log_ == nullptr) return;
    try {
      log_->write(state_.step, row);
      is_log_failing_ = false;
    } catch (const DataError& error) {
      // The log keeps the row; the next one writes both.
      if (!goes_on_after_failures()) throw;
      if (!is_log_failing_) observer_.on_message("warning: " + std::string(error.what()) + kGoesOn);
      is_log_failing_ = true;
    }
    if (!row.contains("save_stall_seconds")) return;
    save_stall_seconds_ = 0;
  }

  /// Every rank computes the same; rank 0's numbers count.
  MetricRow validate() {
    if (in_.validation.empty()) {
      state_.is_validation_due = false;
      return {};
    }
    RECORD_USER_SCOPE("clara::validate");
    if (in_.prepare_rows) in_.prepare_rows(in_.validation);
    MetricRow row;
    for (const auto& [name, value] :
         in_.objective.validate(in_.validation, in_.trainer.max_tokens_per_micro_batch)) {
      row["validation/" + name] = value;
    }
    row = metrics_of_rank_0(in_.communicator, row);
    state_.is_validation_due = false;
    log_row(row);
    observer_.on_validation(state_.step, row);
    if (in_.output.keep_best && state_.step > 0) {
      const auto it = row.find(in_.output.keep_best->metric);
      if (it == row.end()) {
        observer_.on_message("output.keep_best: this validation has no metric " +
                             in_.output.keep_best->metric);
      } else if (is_better(*in_.output.keep_best, it->second, state_.best)) {
        state_.best = {it->first, it->second, state_.step};
        last_saved_ = -1;  // one of this step would not know that it is the best
        save();
      }
    }
    return row;
  }

  bool goes_on_after_failures() const { return in_.output.on_save_error == "continue"; }

  /// Begins a save; a failure shows at the next step.
  void save() {
    if (last_saved_ == state_.step) return;
    if (!is_first_rank_) {
      last_saved_ = state_.step;
      return;
    }
    RECORD_USER_SCOPE("clara::save");
    const Clock::time_point start = Clock::now();
    try {
      log_->sync();
    } catch (const DataError& error) {
      handle_failure({state_.step, error.what()});
      return;
    }
    state_.optimizer = optimizer_.state();
    ModelDescription description = in_.description;
    description.step = state_.step;
    writer_->save(in_.model, description, state_);
    state_.optimizer.clear();
    last_saved_ = state_.step;
    save_stall_seconds_ += seconds_since(start);
  }

  /// What `work` returns; an error that ends it is about to end the run.
  template <class Work>
  std::invoke_result_t<Work> or_save(Work work) {
    try {
      return work();
    } catch (const Error&) {
      save_before_the_end();
      throw;
    }
  }

  /// The parameters are those of the last finished step.
  void save_before_the_end() {
    if (state_.step == 0) return;
    try {
      save();
      finish_saves();
    } catch (const CheckpointError& error) {
      // The error that ends the run is the one to throw.
      observer_.on_message("warning: " + std::string(error.what()));
    }
  }

  void handle_failed_save() {
    if (writer_ == nullptr) return;
    while (const auto failure = writer_->take_failure()) handle_failure(*failure);
  }

  void handle_failure(const SaveFailure& failure) {
    if (last_saved_ == failure.step) last_saved_ = -1;
    if (!goes_on_after_failures()) {
      throw CheckpointError(failure.message +
                            "; the earlier checkpoints are kept. Make room, then go on with "
                            "--resume auto (output.on_save_error: continue trains on and tries "
                            "again at the next save)");
    }
    observer_.on_message("warning: " + failure.message + kGoesOn);
  }

  /// Waits for the last save. Whatever output.on_save_error says, a run must not end as if its last
  /// state had been kept; an earlier one may be missing where the run goes on without it.
  void finish_saves() {
    if (writer_ == nullptr) return;
    writer_->wait();
    std::string cause =
        "the state after step " + std::to_string(state_.step) + " could not be saved";
    while (const auto failure = writer_->take_failure()) {
      if (failure->step != state_.step) {
        handle_failure(*failure);
        continue;
      }
      cause = failure->message;
      last_saved_ = -1;
    }
    if (last_saved_ == state_.step) return;
    throw CheckpointError(
        cause + "; the earlier checkpoints are kept. Make room, then go on with --resume auto");
  }

  void tell_last_checkpoint() {
    for (const fs::path& checkpoint : list_checkpoints(writer_->folder())) {
      if (find_checkpoint_damage(checkpoint)) continue;
      observer_.on_message("last checkpoint " + checkpoint.string() + "; go on with --resume auto");
      return;
    }
    observer_.on_message("no checkpoint was written yet");
  }

  /// Skipping bad rows must not hide that all of them are bad.
  void check_any_row(std::int64_t rows_of_step) {
    state_.counters[kTrainedRows] += rows_of_step;
    if (state_.step + 1 == state_.total_steps && state_.counters[kTrainedRows] == 0) {
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
    tell(kCutQuestions,
         "questions were longer than model.doc_max_tokens and were cut on the right");
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
    } catch (const std::exception& error) {
      throw CheckpointError(folder.string() +
                            ": the trained model could not be written: " + error.what() +
                            "; the last checkpoint in " + writer_->folder().string() + " holds it");
    }
  }

  static constexpr const char* kGoesOn =
      "; training goes on (output.on_save_error: continue), and it is tried again";

  const TrainLoopInputs& in_;
  TrainObserver& observer_;
  AdamW optimizer_;
  GradientSync sync_;
  bool is_first_rank_;
  TrainState state_;
  StepReader reader_;
  LearningRateSchedule schedule_;
  StepProfile profile_;
  // Rank 0 alone writes; null on the others. A save that fails ends rank 0 where it is to end the
  // run, and rank 0's error ends the others.
  std::unique_ptr<CheckpointWriter> writer_;
  std::unique_ptr<MetricsLog> log_;
  std::int64_t last_saved_ = -1;  ///< the step whose save was begun last and has not failed
  double save_stall_seconds_ = 0;
  bool is_log_failing_ = false;
};

}  // namespace

std::int64_t count_total_steps(const TrainerConfig& config, std::int64_t rows_per_epoch) {
  const std::int64_t total = count_steps_from({}, config, rows_per_epoch);
  return config.max_steps > 0 ? std::min(total, config.max_steps) : total;
}

TrainLoopResult train_loop(const TrainLoopInputs& inputs, TrainObserver& observer) {
  return Run(inputs, observer).train();
}

}  // namespace clara
