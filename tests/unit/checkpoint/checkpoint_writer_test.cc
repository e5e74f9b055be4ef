// What is saved is the state at the call, whatever trains on; failures are told, and never cost an
// older checkpoint.
#include "clara/checkpoint/checkpoint_writer.h"

#include <fstream>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

TrainState state_of(std::int64_t step) {
  TrainState state;
  state.step = step;
  state.optimizer = {{"exp_avg/x", torch::full({3}, static_cast<double>(step))}};
  return state;
}

class Writer : public ::testing::Test {
 protected:
  void save(std::int64_t step) { writer.save(*model, description(), state_of(step)); }
  static ModelDescription description() {
    ModelDescription d;
    d.stage = "scp";
    d.num_memory_tokens = kTinyNumMemory;
    d.lora = tiny_lora();
    return d;
  }
  TemporaryFolder folder;
  std::unique_ptr<ClaraModel> model = tiny_model();
  CheckpointWriter writer{folder / "checkpoints", 2};
};

TEST_F(Writer, SavesTheStateAtTheCall) {
  const torch::Tensor before = model->memory().memory_rows.detach().clone();
  TrainState state = state_of(4);
  writer.save(*model, description(), state);
  {
    // The next step changes weights and moments in place, while the save is under way.
    const torch::NoGradGuard no_grad;
    model->memory().memory_rows.add_(1);
    state.optimizer.at("exp_avg/x").fill_(-1);
  }
  writer.wait();
  EXPECT_FALSE(writer.take_failure().has_value());
  TinyModelOptions other;
  other.seed = 99;
  const auto loaded = tiny_model(other);
  const TrainState found = load_checkpoint(folder / "checkpoints" / "step_000004", *loaded);
  EXPECT_TRUE(torch::equal(loaded->memory().memory_rows, before));
  EXPECT_TRUE(torch::equal(found.optimizer.at("exp_avg/x"), torch::full({3}, 4.0)));
}

TEST_F(Writer, EverySaveIsWrittenInOrderAndTheOldOnesGo) {
  for (std::int64_t step = 1; step <= 5; ++step) save(step);
  writer.wait();
  EXPECT_FALSE(writer.take_failure().has_value());
  EXPECT_THAT(
      list_checkpoints(folder / "checkpoints"),
      ElementsAre(folder / "checkpoints" / "step_000005", folder / "checkpoints" / "step_000004"));
}

TEST_F(Writer, ASecondSaveWaitsForTheFirst) {
  save(1);
  save(2);
  // The first one ended before the second was begun.
  EXPECT_FALSE(find_checkpoint_damage(folder / "checkpoints" / "step_000001").has_value());
  writer.wait();
}

TEST_F(Writer, ItsEndWaitsForTheSaveUnderWay) {
  {
    CheckpointWriter other(folder / "other", 1);
    other.save(*model, description(), state_of(9));
  }
  EXPECT_FALSE(find_checkpoint_damage(folder / "other" / "step_000009").has_value());
}

TEST_F(Writer, AFailureIsToldOnceWithItsStep) {
  save(1);
  writer.wait();
  fs::rename(folder / "checkpoints", folder / "kept");
  std::ofstream(folder / "checkpoints") << "a file where the folder should be";
  save(2);
  writer.wait();
  const auto failure = writer.take_failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, 2);
  EXPECT_THAT(failure->message, HasSubstr("step_000002: the checkpoint could not be saved"));
  EXPECT_FALSE(writer.take_failure().has_value());
  EXPECT_FALSE(find_checkpoint_damage(folder / "kept" / "step_000001").has_value());
  fs::remove(folder / "checkpoints");
  save(3);
  writer.wait();
  EXPECT_FALSE(writer.take_failure().has_value()) << "it goes on when the cause is gone";
}

TEST_F(Writer, AFailureOutlivesTheNextSave) {
  std::ofstream(folder / "checkpoints") << "x";
  save(1);
  writer.wait();
  fs::remove(folder / "checkpoints");
  save(2);
  writer.wait();
  const auto failure = writer.take_failure();
  ASSERT_TRUE(failure.has_value());
  EXPECT_EQ(failure->step, 1);
}

TEST_F(Writer, NoFailureHidesAnother) {
  std::ofstream(folder / "checkpoints") << "x";
  for (const std::int64_t step : {1, 2}) save(step);
  writer.wait();
  for (const std::int64_t step : {1, 2}) {
    const auto failure = writer.take_failure();
    ASSERT_TRUE(failure.has_value());
    EXPECT_EQ(failure->step, step);
  }
  EXPECT_FALSE(writer.take_failure().has_value());
}

}  // namespace
}  // namespace clara::testing
