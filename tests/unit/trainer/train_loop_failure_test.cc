// Laws of the loop: an error leaves the last finished step behind, and a save that fails the
// checkpoints before it.
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/trainer/tiny_run.h"
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/trainer/train_loop.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

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

}  // namespace
}  // namespace clara::testing
