// Laws of the loop: a run that was interrupted ends where one that was not ends, every row is seen
// once an epoch, and an error leaves the last finished step behind.
#include "clara/trainer/train_loop.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <limits>
#include <mutex>
#include <thread>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/train_state.h"
#include "clara/common/error.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

/// Rows in memory that remember who asked for them; a row can be made to fail or to be skipped.
class WatchedRows final : public TrainingData {
 public:
  explicit WatchedRows(std::vector<Example> rows) : rows_(std::move(rows)) {}
  std::int64_t rows_per_epoch() const override { return static_cast<std::int64_t>(rows_.size()); }
  std::optional<Example> row(std::int64_t epoch, std::int64_t position) override {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++visits_[{epoch, position}];
    if (position == bad_row) throw DataError("rows.jsonl:7: a bad row");
    if (position == skipped_row) return std::nullopt;
    return rows_[static_cast<std::size_t>(position)];
  }
  std::int64_t work(std::int64_t /*epoch*/, std::int64_t position) override {
    return static_cast<std::int64_t>(rows_[static_cast<std::size_t>(position)].tokens.size());
  }
  /// How often each (epoch, position) was asked for.
  std::map<std::pair<std::int64_t, std::int64_t>, int> visits() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return visits_;
  }

  std::int64_t bad_row = -1;
  std::int64_t skipped_row = -1;

 private:
  std::vector<Example> rows_;
  mutable std::mutex mutex_;
  std::map<std::pair<std::int64_t, std::int64_t>, int> visits_;
};

/// scp, with a loss that becomes infinite in one step if asked to.
class SpoiltObjective final : public Objective {
 public:
  SpoiltObjective(ClaraModel& model, std::int64_t bad_step, double dropout)
      : bad_step_(bad_step), inner_(model, settings(dropout)) {}

  std::vector<TrainedParameter> trained_parameters() override {
    return inner_.trained_parameters();
  }
  std::vector<TermSpec> terms(std::int64_t step) const override { return inner_.terms(step); }
  std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const override {
    return inner_.counts(example, step);
  }
  std::int64_t num_tokens(const Example& example) const override {
    return inner_.num_tokens(example);
  }
  std::vector<LossTerm> forward(const MicroBatch& batch,
                                const MicroBatchContext& context) override {
    rows_seen.push_back(static_cast<std::int64_t>(batch.size()));
    if (before_forward) before_forward(context.step);
    std::vector<LossTerm> terms = inner_.forward(batch, context);
    if (context.step == bad_step_)
      terms[0].sum = terms[0].sum * std::numeric_limits<double>::infinity();
    return terms;
  }
  std::map<std::string, double> validate(const std::vector<Example>& examples,
                                         std::int64_t max_tokens) override {
    if (++num_validations == bad_validation) throw DistributedError("rank 1 of 2 died");
    return inner_.validate(examples, max_tokens);
  }

  std::function<void(std::int64_t step)> before_forward;
  std::vector<std::int64_t> rows_seen;
  std::int64_t num_validations = 0;
  std::int64_t bad_validation = -1;

 private:
  static CompressionSettings settings(double dropout) {
    CompressionSettings settings;
    settings.lora_dropout = dropout;
    return settings;
  }
  std::int64_t bad_step_;
  CompressionObjective inner_;
};

/// What a run told its observer.
class Watcher final : public TrainObserver {
 public:
  void on_step(std::int64_t step, std::int64_t total_steps, const MetricRow& metrics) override {
    steps.push_back(step);
    total = total_steps;
    rows.push_back(metrics);
  }
  void on_validation(std::int64_t step, const MetricRow& /*metrics*/) override {
    validations.push_back(step);
  }
  void on_message(const std::string& message) override { messages.push_back(message); }

  std::vector<std::int64_t> steps, validations;
  std::int64_t total = 0;
  std::vector<MetricRow> rows;
  std::vector<std::string> messages;
};

/// A run of the loop on a tiny model, with everything it refers to.
struct TinyRun {
  explicit TinyRun(fs::path run_folder, std::int64_t num_rows = 11, std::int64_t bad_step = -1)
      : folder(std::move(run_folder)),
        model(tiny_model()),
        objective(*model, bad_step, 0.2),
        data(scp_rows(num_rows)) {
    trainer.rows_per_step = 4;
    trainer.rows_per_micro_batch = 2;
    trainer.num_epochs = 2;
    trainer.peak_learning_rate = 1e-2;
    trainer.validate_every_steps = 0;
    output.folder = folder.string();
    output.save_every_steps = 0;  // syncing files is most of a tiny run's time
    output.keep_last = 100;
    logging.tensorboard = false;
  }

  TrainLoopResult train() {
    ModelDescription description;
    description.stage = "scp";
    description.num_memory_tokens = kTinyNumMemory;
    description.lora = tiny_lora();
    SingleProcessCommunicator communicator;
    const TrainLoopInputs inputs{*model,       objective,      data,    validation,
                                 communicator, description,    trainer, output,
                                 logging,      "stage: scp\n", resume,  should_stop};
    return train_loop(inputs, watcher);
  }

  fs::path checkpoint(std::int64_t step) const {
    return folder / "checkpoints" / checkpoint_name(step);
  }

  fs::path folder;
  std::unique_ptr<ClaraModel> model;
  SpoiltObjective objective;
  WatchedRows data;
  std::vector<Example> validation;
  TrainerConfig trainer;
  OutputConfig output;
  LoggingConfig logging;
  std::optional<fs::path> resume;
  std::function<bool()> should_stop;
  Watcher watcher;
};

/// All adapters and memory rows.
std::vector<Tensor> weights_of(const ClaraModel& model) {
  std::vector<Tensor> weights = {model.memory().memory_rows};
  for (AdapterRole role : kAdapterRoles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      weights.push_back(named.tensor);
  }
  return weights;
}

void expect_same_weights(const ClaraModel& found, const ClaraModel& expected) {
  const std::vector<Tensor> a = weights_of(found), b = weights_of(expected);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
}

std::vector<nlohmann::json> metric_rows(const fs::path& folder) {
  std::vector<nlohmann::json> rows;
  std::ifstream in(folder / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

// ---- steps and rows -----------------------------------------------------------------------------

TEST(CountTotalSteps, CountsThePartialStepOfEveryEpoch) {
  TrainerConfig config;
  config.rows_per_step = 4;
  config.num_epochs = 3;
  EXPECT_EQ(count_total_steps(config, 8), 6);
  EXPECT_EQ(count_total_steps(config, 9), 9);
  EXPECT_EQ(count_total_steps(config, 1), 3);
  config.max_steps = 5;
  EXPECT_EQ(count_total_steps(config, 9), 5);
  EXPECT_EQ(count_total_steps(config, 1), 3) << "max_steps never lengthens a run";
}

TEST(FormMicroBatches, HoldEveryRowOnceWithinTheLimit) {
  const auto model = tiny_model();
  const CompressionObjective objective(*model, {});
  const std::vector<Example> rows = scp_rows(13);
  std::int64_t longest = 0;
  for (const Example& row : rows) longest = std::max(longest, objective.num_tokens(row));
  for (const StepSettings& settings : {StepSettings{0, 1 << 20, 0}, StepSettings{0, 3 * longest, 0},
                                       StepSettings{0, 1, 0}, StepSettings{5, 1, 0}}) {
    std::multiset<const Example*> seen;
    for (const MicroBatch& batch : form_micro_batches(rows, objective, settings)) {
      ASSERT_FALSE(batch.empty());
      std::int64_t tokens = 0;
      for (const Example* row : batch) {
        seen.insert(row);
        tokens += objective.num_tokens(*row);
      }
      if (settings.rows_per_micro_batch > 0) {
        EXPECT_LE(batch.size(), 5U);
      } else {
        EXPECT_TRUE(tokens <= settings.max_tokens_per_micro_batch || batch.size() == 1U);
      }
    }
    EXPECT_EQ(seen.size(), rows.size());
    for (const Example& row : rows) EXPECT_EQ(seen.count(&row), 1U);
  }
  EXPECT_TRUE(form_micro_batches({}, objective, {}).empty());
}

TEST(TrainLoop, SeesEveryRowOnceAnEpochAndTrainsTheLastPartialStep) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");  // 11 rows in steps of 4: 4, 4, 3 an epoch
  const TrainLoopResult result = run.train();
  EXPECT_EQ(result.step, 6);
  EXPECT_FALSE(result.stopped);
  EXPECT_THAT(run.watcher.steps, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(run.watcher.total, 6);
  const auto visits = run.data.visits();
  EXPECT_EQ(visits.size(), 22U);
  for (const auto& [place, count] : visits)
    EXPECT_EQ(count, 1) << place.first << " " << place.second;
  EXPECT_THAT(run.objective.rows_seen, ElementsAre(2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 1));
  std::vector<double> rows;
  for (const MetricRow& row : run.watcher.rows) rows.push_back(row.at("rows"));
  EXPECT_THAT(rows, ElementsAre(4, 4, 3, 4, 4, 3));
  EXPECT_LT(run.watcher.rows[3].at("loss"), run.watcher.rows[0].at("loss"))
      << "the same rows again";
}

TEST(TrainLoop, LogsEveryStepWithItsRate) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.train();
  const std::vector<nlohmann::json> rows = metric_rows(run.folder);
  ASSERT_EQ(rows.size(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_EQ(rows[i].at("step").get<std::size_t>(), i + 1);
    for (const char* key :
         {"loss", "cross_entropy", "alignment", "weighted_alignment", "learning_rate",
          "gradient_norm", "rows", "tokens", "answer_tokens", "data_wait_seconds"})
      EXPECT_TRUE(rows[i].contains(key)) << key;
  }
  EXPECT_NEAR(
      rows[0].at("loss").get<double>(),
      rows[0].at("cross_entropy").get<double>() + 0.1 * rows[0].at("alignment").get<double>(),
      1e-6);
  EXPECT_EQ(rows[0].at("learning_rate"), 1e-2) << "one warm-up update of six";
}

TEST(TrainLoop, RowsOfTheNextStepAreReadWhileThisOneComputes) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  // Each step but the last two computes until the last row of the next step was asked for; a loop
  // that reads between its steps would never get there.
  const std::vector<std::pair<std::int64_t, std::int64_t>> last_of_next = {
      {0, 7}, {0, 10}, {1, 3}, {1, 7}};
  bool read_ahead = true;
  run.objective.before_forward = [&](std::int64_t step) {
    if (step >= 4) return;
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (run.data.visits().count(last_of_next[static_cast<std::size_t>(step)]) == 0) {
      if (std::chrono::steady_clock::now() > give_up) {
        read_ahead = false;
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  };
  run.train();
  EXPECT_TRUE(read_ahead);
  for (const MetricRow& row : run.watcher.rows) {
    EXPECT_GE(row.at("data_wait_seconds"), 0);
    EXPECT_LE(row.at("data_wait_seconds"), row.at("seconds"));
  }
}

TEST(TrainLoop, SkippedRowsLeaveTheStepSmaller) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.data.skipped_row = 5;
  run.train();
  std::vector<double> rows;
  for (const MetricRow& row : run.watcher.rows) rows.push_back(row.at("rows"));
  EXPECT_THAT(rows, ElementsAre(4, 3, 3, 4, 3, 3));
}

TEST(TrainLoop, TheMicroBatchSplitDoesNotChangeTheRun) {
  const TemporaryFolder folder;
  TinyRun first(folder / "first"), second(folder / "second");
  // Masks follow the micro-batch, so the law holds without dropout.
  CompressionSettings settings;
  settings.lora_dropout = 0;
  CompressionObjective one(*first.model, settings), two(*second.model, settings);
  second.trainer.rows_per_micro_batch = 1;
  const auto train = [](TinyRun& run, Objective& objective) {
    SingleProcessCommunicator communicator;
    const TrainLoopInputs inputs{*run.model,   objective, run.data,    run.validation,
                                 communicator, {},        run.trainer, run.output,
                                 run.logging,  "",        {},          {}};
    train_loop(inputs, run.watcher);
  };
  train(first, one);
  train(second, two);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(second.watcher.rows[i].at("loss"), first.watcher.rows[i].at("loss"),
                1e-4 * first.watcher.rows[i].at("loss"))
        << i;
  }
}

// ---- resuming -----------------------------------------------------------------------------------

TEST(TrainLoop, ARunResumedInTheMiddleEndsWithTheSameWeights) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "whole");
  whole.output.save_every_steps = 1;
  whole.train();
  for (const std::int64_t step : {1, 3, 5}) {
    SCOPED_TRACE(step);
    TinyRun resumed(folder / ("resumed_" + std::to_string(step)));
    resumed.resume = whole.checkpoint(step);
    const TrainLoopResult result = resumed.train();
    EXPECT_EQ(result.step, 6);
    expect_same_weights(*resumed.model, *whole.model);
    EXPECT_EQ(resumed.watcher.steps.front(), step + 1);
    for (std::size_t i = 0; i < resumed.watcher.rows.size(); ++i) {
      const MetricRow& expected = whole.watcher.rows[static_cast<std::size_t>(step) + i];
      EXPECT_EQ(resumed.watcher.rows[i].at("loss"), expected.at("loss"));
      EXPECT_EQ(resumed.watcher.rows[i].at("learning_rate"), expected.at("learning_rate"));
    }
  }
}

TEST(TrainLoop, TwoRunsOfOneSeedAreTheSameAndAnotherSeedIsAnother) {
  const TemporaryFolder folder;
  TinyRun first(folder / "first"), second(folder / "second"), other(folder / "other");
  other.trainer.seed = 18;
  first.train();
  second.train();
  other.train();
  expect_same_weights(*second.model, *first.model);
  EXPECT_FALSE(torch::equal(other.model->memory().memory_rows, first.model->memory().memory_rows));
}

TEST(TrainLoop, ResumingInTheSameFolderLeavesMetricsAsIfNothingHadHappened) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "whole");
  whole.output.save_every_steps = 1;
  whole.train();
  std::vector<nlohmann::json> expected = metric_rows(whole.folder);
  TinyRun resumed(folder / "whole");
  resumed.resume = whole.checkpoint(2);
  resumed.train();
  std::vector<nlohmann::json> found = metric_rows(whole.folder);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    for (const char* key : {"step", "loss", "gradient_norm", "learning_rate", "rows"})
      EXPECT_EQ(found[i].at(key), expected[i].at(key)) << i << " " << key;
  }
}

TEST(TrainLoop, AFinishedRunThatIsResumedStaysAsItIs) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "run");
  whole.train();
  TinyRun again(folder / "run");
  again.resume = whole.checkpoint(6);
  EXPECT_EQ(again.train().step, 6);
  EXPECT_TRUE(again.watcher.steps.empty());
  expect_same_weights(*again.model, *whole.model);
  EXPECT_EQ(metric_rows(whole.folder).size(), 6U);
}

TEST(TrainLoop, ARequestToStopSavesAndTheRunCanGoOn) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "whole");
  whole.train();
  TinyRun stopped(folder / "stopped");
  std::int64_t asked = 0;
  stopped.should_stop = [&] { return ++asked == 2; };
  const TrainLoopResult result = stopped.train();
  EXPECT_TRUE(result.stopped);
  EXPECT_EQ(result.step, 2);
  EXPECT_FALSE(fs::exists(stopped.folder / "final")) << "it did not end";
  ASSERT_THAT(list_checkpoints(stopped.folder / "checkpoints"), ElementsAre(stopped.checkpoint(2)));
  TinyRun resumed(folder / "stopped");
  resumed.resume = stopped.checkpoint(2);
  resumed.train();
  expect_same_weights(*resumed.model, *whole.model);
}

TEST(TrainLoop, AStopAfterTheLastStepIsAnEnd) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  std::int64_t asked = 0;
  run.should_stop = [&] { return ++asked == 6; };
  EXPECT_FALSE(run.train().stopped);
  EXPECT_TRUE(fs::exists(run.folder / "final"));
}

TEST(TrainLoop, AStopBeforeAValidationMakesUpForItWhenTheRunGoesOn) {
  const TemporaryFolder folder;
  const auto prepare = [](TinyRun& run) {
    run.validation = scp_rows(3, 900);
    run.trainer.validate_every_steps = 2;
    run.output.keep_best = KeepBestConfig{"validation/loss", "min"};
  };
  TinyRun whole(folder / "whole");
  prepare(whole);
  whole.train();
  TinyRun stopped(folder / "stopped");
  prepare(stopped);
  std::int64_t asked = 0;
  stopped.should_stop = [&] { return ++asked == 4; };
  EXPECT_EQ(stopped.train().step, 4);
  EXPECT_THAT(stopped.watcher.validations, ElementsAre(0, 2)) << "who stops a run does not wait";
  {
    // It goes on, and is killed before its next checkpoint: the validation is made up for twice.
    TinyRun resumed(folder / "stopped");
    prepare(resumed);
    resumed.output.keep_best.reset();
    resumed.resume = stopped.checkpoint(4);
    resumed.should_stop = [] { return true; };
    resumed.train();
    EXPECT_THAT(resumed.watcher.validations, ElementsAre(4));
    fs::remove_all(stopped.checkpoint(5));
  }
  TinyRun resumed(folder / "stopped");
  prepare(resumed);
  resumed.resume = stopped.checkpoint(4);
  resumed.train();
  EXPECT_THAT(resumed.watcher.validations, ElementsAre(4, 6));
  expect_same_weights(*resumed.model, *whole.model);
  const std::vector<nlohmann::json> found = metric_rows(stopped.folder);
  const std::vector<nlohmann::json> expected = metric_rows(whole.folder);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found[i].at("step"), expected[i].at("step")) << i;
    const char* key = expected[i].contains("loss") ? "loss" : "validation/loss";
    EXPECT_EQ(found[i].at(key), expected[i].at(key)) << i;
  }
  const RunProgress a = load_run_progress(stopped.checkpoint(6));
  const RunProgress b = load_run_progress(whole.checkpoint(6));
  ASSERT_TRUE(a.best && b.best);
  EXPECT_EQ(a.best->step, b.best->step);
  EXPECT_EQ(a.best->value, b.best->value);
}

TEST(TrainLoop, CheckpointsSayWhereTheDataStands) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");  // 11 rows in steps of 4
  run.output.save_every_steps = 1;
  run.train();
  const std::vector<std::pair<std::int64_t, std::int64_t>> places = {{0, 4}, {0, 8}, {1, 0},
                                                                     {1, 4}, {1, 8}, {2, 0}};
  for (std::size_t i = 0; i < places.size(); ++i) {
    const RunProgress progress =
        load_run_progress(run.checkpoint(static_cast<std::int64_t>(i) + 1));
    EXPECT_EQ(progress.epoch, places[i].first) << i;
    EXPECT_EQ(progress.position, places[i].second) << i;
  }
}

TEST(TrainLoop, AnotherStepSizeGoesOnBehindTheLastTrainedRow) {
  const TemporaryFolder folder;
  TinyRun first(folder / "first");
  first.output.save_every_steps = 1;
  first.train();
  TinyRun second(folder / "second");
  second.trainer.rows_per_step = 3;
  second.resume = first.checkpoint(2);  // 8 of 11 rows of the first epoch
  const TrainLoopResult result = second.train();
  EXPECT_EQ(result.step, 2 + 1 + 4);
  const auto visits = second.data.visits();
  EXPECT_EQ(visits.size(), 3U + 11U);
  for (const auto& [place, count] : visits) {
    EXPECT_EQ(count, 1);
    EXPECT_TRUE(place.first == 1 || place.second >= 8) << place.second;
  }
}

TEST(TrainLoop, MoreEpochsContinueAFinishedRun) {
  const TemporaryFolder folder;
  TinyRun first(folder / "first");
  first.train();
  TinyRun second(folder / "second");
  second.trainer.num_epochs = 3;
  second.resume = first.checkpoint(6);
  EXPECT_EQ(second.train().step, 9);
  EXPECT_THAT(second.watcher.steps, ElementsAre(7, 8, 9));
}

TEST(TrainLoop, CheckpointsAfterTheOneToGoOnFromAreSetAside) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "run");
  whole.output.save_every_steps = 2;
  whole.train();
  TinyRun resumed(folder / "run");
  resumed.resume = whole.checkpoint(2);
  resumed.should_stop = [] { return true; };
  resumed.train();
  EXPECT_THAT(list_checkpoints(whole.folder / "checkpoints"),
              ElementsAre(whole.checkpoint(3), whole.checkpoint(2)))
      << "steps 4 and 6 belong to the run that this one is no longer";
  EXPECT_FALSE(
      find_checkpoint_damage(whole.folder / "checkpoints" / "superseded_step_000006").has_value());
  EXPECT_THAT(resumed.watcher.messages, Contains(HasSubstr("was set aside")));
}

// ---- saves that fail ----------------------------------------------------------------------------

/// Exchanges the folder of checkpoints with a file, so that saves fail, and back. Each is one
/// system call: a save may be under way.
class BlockedCheckpoints {
 public:
  explicit BlockedCheckpoints(const fs::path& run)
      : folder_(run / "checkpoints"), other_(run / "other") {}
  void block() {
    std::ofstream(other_) << "x";
    exchange();
  }
  void release() { exchange(); }

 private:
  void exchange() {
    ASSERT_EQ(::renameat2(AT_FDCWD, folder_.c_str(), AT_FDCWD, other_.c_str(), RENAME_EXCHANGE), 0);
  }
  fs::path folder_, other_;
};

TEST(TrainLoop, AFailedSaveStopsTheRunAndKeepsTheOlderCheckpoint) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.output.save_every_steps = 2;
  BlockedCheckpoints blocked(run.folder);
  std::int64_t asked = 0;
  run.should_stop = [&] {
    if (++asked == 3) {
      while (find_checkpoint_damage(run.checkpoint(2))) continue;  // still being written
      blocked.block();
    }
    return false;
  };
  try {
    run.train();
    FAIL() << "a save that failed was not told";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("could not be saved"));
    EXPECT_THAT(error.what(), HasSubstr("earlier checkpoints are kept"));
    EXPECT_THAT(error.what(), HasSubstr("--resume auto"));
  }
  blocked.release();
  EXPECT_THAT(list_checkpoints(run.folder / "checkpoints"), ElementsAre(run.checkpoint(2)));
}

TEST(TrainLoop, WhereItMayContinueAFailedSaveIsToldAndTriedAgain) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "whole");
  whole.train();
  TinyRun run(folder / "run");
  run.output.save_every_steps = 1;
  run.output.on_save_error = "continue";
  BlockedCheckpoints blocked(run.folder);
  std::int64_t asked = 0;
  run.should_stop = [&] {
    ++asked;
    if (asked == 2) {
      while (find_checkpoint_damage(run.checkpoint(1))) continue;
      blocked.block();
    }
    if (asked == 5) blocked.release();
    return false;
  };
  const TrainLoopResult result = run.train();
  EXPECT_EQ(result.step, 6);
  EXPECT_FALSE(result.stopped);
  EXPECT_THAT(run.watcher.messages, Contains(HasSubstr("training goes on")));
  EXPECT_FALSE(find_checkpoint_damage(run.checkpoint(6)).has_value());
  EXPECT_FALSE(find_checkpoint_damage(run.checkpoint(1)).has_value());
  expect_same_weights(*run.model, *whole.model);
  EXPECT_EQ(metric_rows(run.folder).size(), 6U);
}

TEST(TrainLoop, WhereItMayContinueAnEarlierFailedSaveDoesNotSpoilTheLastOne) {
  const TemporaryFolder folder;
  for (const std::string on_error : {"continue", "stop"}) {
    TinyRun run(folder / on_error);
    run.output.save_every_steps = 1;
    run.output.on_save_error = on_error;
    BlockedCheckpoints blocked(run.folder);
    // The save of step 1 fails; when the run is stopped, after step 2, the loop may still have to
    // be told (it looks once, just after that save began).
    std::int64_t asked = 0;
    run.should_stop = [&] {
      if (++asked == 1) {
        blocked.block();
        return false;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(200));
      blocked.release();
      return true;
    };
    if (on_error == "stop") {
      EXPECT_THROW(run.train(), CheckpointError);
      continue;
    }
    const TrainLoopResult result = run.train();
    EXPECT_TRUE(result.stopped);
    EXPECT_EQ(result.step, 2);
    EXPECT_THAT(run.watcher.messages,
                Contains(AllOf(HasSubstr("step_000001"), HasSubstr("training goes on"))));
    EXPECT_FALSE(find_checkpoint_damage(run.checkpoint(2)).has_value());
  }
}

TEST(TrainLoop, ARunWhoseLastSaveFailsDoesNotEndAsIfItHadBeenKept) {
  const TemporaryFolder folder;
  for (const std::string on_error : {"stop", "continue"}) {
    TinyRun run(folder / on_error);
    run.output.on_save_error = on_error;
    BlockedCheckpoints blocked(run.folder);
    std::int64_t asked = 0;
    run.should_stop = [&] {
      if (++asked == 5) blocked.block();
      return false;
    };
    try {
      run.train();
      ADD_FAILURE() << on_error;
    } catch (const CheckpointError& error) {
      EXPECT_THAT(error.what(), HasSubstr("step_000006")) << on_error;
    }
  }
}

TEST(TrainLoop, TheMetricsShowHowLongSavingHeldUpTheLoop) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.output.save_every_steps = 2;
  run.train();
  const std::vector<nlohmann::json> rows = metric_rows(run.folder);
  ASSERT_EQ(rows.size(), 6U);
  for (const std::size_t i : {0, 1, 3, 5}) EXPECT_FALSE(rows[i].contains("save_stall_seconds"));
  for (const std::size_t i : {2, 4})
    EXPECT_GT(rows[i].at("save_stall_seconds").get<double>(), 0) << "the row after a save";
}

// ---- what is left behind ------------------------------------------------------------------------

TEST(TrainLoop, FinalHoldsTheTrainedModel) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.train();
  const ModelDescription description = read_model_description(run.folder / "final");
  EXPECT_EQ(description.step, 6);
  EXPECT_EQ(description.stage, "scp");
  TinyModelOptions other;
  other.seed = 77;
  const auto loaded = tiny_model(other);
  load_model_files(run.folder / "final", *loaded);
  expect_same_weights(*loaded, *run.model);
  EXPECT_THAT(list_checkpoints(run.folder / "checkpoints"), ElementsAre(run.checkpoint(6)))
      << "the end is always saved";
}

TEST(TrainLoop, AFailureInAValidationLeavesTheStepAndTheValidationIsMadeUpFor) {
  const TemporaryFolder folder;
  TinyRun whole(folder / "whole"), run(folder / "run"), resumed(folder / "run");
  for (TinyRun* each : {&whole, &run, &resumed}) {
    each->validation = scp_rows(2);
    each->trainer.validate_every_steps = 2;
  }
  whole.train();
  run.objective.bad_validation = 2;  // the first one is at step 0
  EXPECT_THROW(run.train(), DistributedError);
  EXPECT_THAT(list_checkpoints(run.folder / "checkpoints"), ElementsAre(run.checkpoint(2)));
  resumed.resume = run.checkpoint(2);
  resumed.train();
  EXPECT_EQ(resumed.watcher.validations, (std::vector<std::int64_t>{2, 4, 6}));
  expect_same_weights(*resumed.model, *whole.model);
}

TEST(TrainLoop, ANonFiniteLossStopsTheRunAndLeavesTheLastFinishedStep) {
  const TemporaryFolder folder;
  TinyRun sound(folder / "sound");
  sound.train();
  TinyRun run(folder / "run", 11, /*bad_step=*/3);
  try {
    run.train();
    FAIL() << "an infinite loss was trained on";
  } catch (const NonFiniteError& error) {
    EXPECT_THAT(error.what(), HasSubstr("non-finite loss at step 4"));
    EXPECT_THAT(error.what(), HasSubstr("rows.jsonl:100")) << "which rows";
  }
  EXPECT_FALSE(fs::exists(run.folder / "final"));
  ASSERT_THAT(list_checkpoints(run.folder / "checkpoints"), ElementsAre(run.checkpoint(3)));
  EXPECT_FALSE(find_checkpoint_damage(run.checkpoint(3)).has_value());
  TinyRun resumed(folder / "resumed");
  resumed.resume = run.checkpoint(3);
  resumed.train();
  expect_same_weights(*resumed.model, *sound.model);
}

TEST(TrainLoop, ABadRowSavesBeforeItEndsTheRun) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.data.bad_row = 9;  // in the third step
  try {
    run.train();
    FAIL();
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rows.jsonl:7"));
  }
  ASSERT_THAT(list_checkpoints(run.folder / "checkpoints"), ElementsAre(run.checkpoint(2)));
  EXPECT_FALSE(find_checkpoint_damage(run.checkpoint(2)).has_value());
}

TEST(TrainLoop, ValidatesAtTheStartOnItsScheduleAndAtTheEnd) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.validation = scp_rows(3, 900);
  run.trainer.validate_every_steps = 4;
  const TrainLoopResult result = run.train();
  EXPECT_THAT(run.watcher.validations, ElementsAre(0, 4, 6));
  EXPECT_TRUE(result.last_validation.contains("validation/loss"));
  EXPECT_TRUE(result.last_validation.contains("validation/latent_gap"));
  TinyRun without(folder / "without");
  without.train();
  expect_same_weights(*run.model, *without.model);
}

TEST(TrainLoop, KeepsTheLastAndTheBestCheckpoint) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.validation = scp_rows(3, 900);
  run.trainer.validate_every_steps = 1;
  run.output.save_every_steps = 1;
  run.output.keep_last = 2;
  run.output.keep_best = KeepBestConfig{"validation/loss", "max"};
  run.train();
  std::int64_t best = 0;
  double value = -1;
  for (const nlohmann::json& row : metric_rows(run.folder)) {
    if (row.contains("validation/loss") && row.at("step") > 0 &&
        row.at("validation/loss") > value) {
      value = row.at("validation/loss").get<double>();
      best = row.at("step").get<std::int64_t>();
    }
  }
  std::set<fs::path> expected = {run.checkpoint(5), run.checkpoint(6), run.checkpoint(best)};
  const std::vector<fs::path> kept = list_checkpoints(run.folder / "checkpoints");
  EXPECT_EQ(std::set<fs::path>(kept.begin(), kept.end()), expected);
}

TEST(TrainLoop, AMetricThatIsNotThereIsSaidSo) {
  const TemporaryFolder folder;
  TinyRun run(folder / "run");
  run.validation = scp_rows(2, 900);
  run.output.keep_best = KeepBestConfig{"validation/recall@5", "max"};
  run.train();
  EXPECT_THAT(run.watcher.messages, Each(HasSubstr("validation/recall@5")));
  EXPECT_FALSE(run.watcher.messages.empty());
}

TEST(TrainLoop, AnUnwritableRunFolderIsACheckpointError) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  TinyRun run(folder / "file" / "run");
  EXPECT_THROW(run.train(), CheckpointError);
}

TEST(TrainLoop, JointRunsResumeExactlyWithAFreshStore) {
  const TemporaryFolder folder;
  const std::vector<Example> rows = joint_rows(6);
  const auto train = [&](ClaraModel& model, const std::string& name,
                         std::optional<fs::path> resume) {
    DocumentLatents documents(model, std::make_unique<MemoryLatentStore>(), 1 << 20);
    JointObjective objective(model, documents, {2, 0.1, TopkMask::kLeaky, 0.2, false});
    ExampleList data(rows);
    TinyRun settings(folder / name);
    settings.trainer.rows_per_step = 2;
    settings.output.save_every_steps = 1;
    settings.trainer.num_epochs = 1;
    SingleProcessCommunicator communicator;
    const TrainLoopInputs inputs{model,
                                 objective,
                                 data,
                                 {},
                                 communicator,
                                 {},
                                 settings.trainer,
                                 settings.output,
                                 settings.logging,
                                 "",
                                 std::move(resume),
                                 {}};
    train_loop(inputs, settings.watcher);
  };
  const auto whole = tiny_model(), resumed = tiny_model();
  train(*whole, "whole", std::nullopt);
  train(*resumed, "resumed", folder / "whole" / "checkpoints" / checkpoint_name(1));
  const std::vector<Tensor> a = weights_of(*resumed), b = weights_of(*whole);
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
}

}  // namespace
}  // namespace clara::testing
