// Laws of the loop: every row is seen once an epoch, however its rows are split; what is logged,
// validated and kept.
#include "clara/trainer/train_loop.h"

#include <chrono>
#include <fstream>
#include <set>
#include <thread>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/trainer/tiny_run.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara::testing {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

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

}  // namespace
}  // namespace clara::testing
