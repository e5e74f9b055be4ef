// Laws of the loop: a run that was interrupted ends where one that was not ends.

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/trainer/tiny_run.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/latents/document_latents.h"
#include "clara/objectives/joint_objective.h"
#include "clara/trainer/train_loop.h"

namespace clara::testing {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

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
