// Checkpoints come back bit for bit, damage is seen before it is used, and no failure costs the
// last good one.
#include <fstream>
#include <functional>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/checkpoint/train_state.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using torch::Tensor;
namespace fs = std::filesystem;

ModelDescription tiny_description() {
  ModelDescription d;
  d.base = "models/tiny";
  d.stage = "joint";
  d.step = 12;
  d.doc_max_tokens = 64;
  d.compression_rate = 16;
  d.num_memory_tokens = kTinyNumMemory;
  d.num_selected = 2;
  d.document_format = "ml_clara";
  d.chat_format = "chatml";
  d.lora = tiny_lora();
  d.library_version = "0.1.0";
  return d;
}

TrainState tiny_state(std::int64_t step) {
  torch::manual_seed(static_cast<std::uint64_t>(step));
  TrainState state;
  state.step = step;
  state.total_steps = 40;
  state.best = BestCheckpoint{"validation/recall@5", 0.1 + 0.2, 3};
  state.config_yaml = "stage: joint\nname: \"ü\\n\"\n";
  state.optimizer = {{"exp_avg/x", torch::randn({3, 4})},
                     {"exp_avg_sq/x", torch::rand({3, 4})},
                     {"num_updates", torch::full({1}, step, torch::kInt64)}};
  return state;
}

std::vector<Tensor> weights_of(const ClaraModel& model) {
  std::vector<Tensor> weights = {model.memory().memory_rows, model.memory().fixed_rows};
  if (model.memory().head_rows.defined()) weights.push_back(model.memory().head_rows);
  for (AdapterRole role : kAdapterRoles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      weights.push_back(named.tensor);
  }
  return weights;
}

bool same_weights(const ClaraModel& a, const ClaraModel& b) {
  const std::vector<Tensor> first = weights_of(a), second = weights_of(b);
  if (first.size() != second.size()) return false;
  for (std::size_t i = 0; i < first.size(); ++i) {
    if (!torch::equal(first[i], second[i])) return false;
  }
  return true;
}

std::unique_ptr<ClaraModel> another_model(bool tied = true) {
  TinyModelOptions options;
  options.seed = 99;
  options.tied = tied;
  return tiny_model(options);
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no CheckpointError";
}

/// Every file of a folder with its content.
std::map<std::string, std::string> contents_of(const fs::path& folder) {
  std::map<std::string, std::string> contents;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      contents[fs::relative(entry.path(), folder).string()] = read_file(entry.path());
  }
  return contents;
}

void flip_byte(const fs::path& path, std::int64_t offset) {
  std::string content = read_file(path);
  char& byte = content[static_cast<std::size_t>(offset)];
  byte = static_cast<char>(byte ^ 0x01);
  std::ofstream(path, std::ios::binary) << content;
}

class Checkpoints : public ::testing::Test {
 protected:
  fs::path save(std::int64_t step) const {
    return save_checkpoint(folder.path(), *model, tiny_description(), tiny_state(step));
  }

  TemporaryFolder folder;
  std::unique_ptr<ClaraModel> model = tiny_model();
};

TEST_F(Checkpoints, ComeBackBitForBit) {
  for (const bool tied : {true, false}) {
    const TemporaryFolder place;
    TinyModelOptions options;
    options.tied = tied;
    const auto saved = tiny_model(options), loaded = another_model(tied);
    const TrainState before = tiny_state(12);
    const fs::path checkpoint = save_checkpoint(place.path(), *saved, tiny_description(), before);
    EXPECT_EQ(checkpoint, place / "step_000012");
    ASSERT_FALSE(same_weights(*saved, *loaded));
    const TrainState after = load_checkpoint(checkpoint, *loaded);
    EXPECT_TRUE(same_weights(*saved, *loaded));
    EXPECT_EQ(after.step, 12);
    EXPECT_EQ(after.total_steps, 40);
    ASSERT_TRUE(after.best.has_value());
    EXPECT_EQ(after.best->metric, before.best->metric);
    EXPECT_EQ(after.best->value, before.best->value);
    EXPECT_EQ(after.best->step, before.best->step);
    EXPECT_EQ(after.config_yaml, before.config_yaml);
    EXPECT_EQ(load_run_progress(checkpoint).config_yaml, before.config_yaml);
    ASSERT_EQ(after.optimizer.size(), before.optimizer.size());
    for (const auto& [name, tensor] : before.optimizer)
      EXPECT_TRUE(torch::equal(after.optimizer.at(name), tensor)) << name;
    const ModelDescription description = read_model_description(checkpoint);
    EXPECT_EQ(description.base, "models/tiny");
    EXPECT_EQ(description.stage, "joint");
    EXPECT_EQ(description.document_format, "ml_clara");
    EXPECT_EQ(description.lora.rank, 4);
    EXPECT_EQ(description.lora.alpha, 8);
  }
}

TEST_F(Checkpoints, LoadIntoTensorsThatAreBeingTrained) {
  const fs::path checkpoint = save(1);
  const auto loaded = another_model();
  loaded->adapter(AdapterRole::kGenerator).set_requires_grad(true);
  const Tensor handle = loaded->adapter(AdapterRole::kGenerator).named_tensors()[0].tensor;
  load_checkpoint(checkpoint, *loaded);
  EXPECT_TRUE(handle.requires_grad());
  EXPECT_TRUE(
      torch::equal(handle, model->adapter(AdapterRole::kGenerator).named_tensors()[0].tensor))
      << "values are copied into the tensors that an optimizer holds";
}

TEST_F(Checkpoints, HoldTheFilesOfTheLayoutAndNothingElse) {
  const fs::path checkpoint = save(7);
  std::vector<std::string> names;
  for (const auto& [name, content] : contents_of(checkpoint)) names.push_back(name);
  EXPECT_THAT(names, ElementsAre("adapters/compressor/adapter_config.json",
                                 "adapters/compressor/adapter_model.safetensors",
                                 "adapters/generator/adapter_config.json",
                                 "adapters/generator/adapter_model.safetensors",
                                 "adapters/query_reasoner/adapter_config.json",
                                 "adapters/query_reasoner/adapter_model.safetensors", "clara.json",
                                 "manifest.json", "memory_tokens.safetensors",
                                 "optimizer.safetensors", "trainer_state.json"));
  EXPECT_EQ(folder.size(), 1U) << "no temporary folder is left";
  EXPECT_FALSE(find_checkpoint_damage(checkpoint).has_value());
}

TEST_F(Checkpoints, SavingTheSameStepAgainReplacesIt) {
  save(5);
  {
    const torch::NoGradGuard no_grad;
    model->memory().memory_rows.add_(1);
  }
  const fs::path checkpoint = save(5);
  const auto loaded = another_model();
  load_checkpoint(checkpoint, *loaded);
  EXPECT_TRUE(same_weights(*loaded, *model));
  EXPECT_EQ(folder.size(), 1U);
}

TEST_F(Checkpoints, AFlippedByteOfAnyFileIsSeen) {
  const fs::path checkpoint = save(3);
  for (const auto& [name, content] : contents_of(checkpoint)) {
    if (name == "manifest.json") continue;
    for (const std::size_t place : {std::size_t{0}, content.size() / 2, content.size() - 1}) {
      flip_byte(checkpoint / name, static_cast<std::int64_t>(place));
      const auto damage = find_checkpoint_damage(checkpoint);
      ASSERT_TRUE(damage.has_value()) << name << " byte " << place;
      EXPECT_THAT(*damage, HasSubstr(name));
      EXPECT_THAT(message_of([&] { load_checkpoint(checkpoint, *another_model()); }),
                  AllOf(HasSubstr(checkpoint.string()), HasSubstr(name)));
      flip_byte(checkpoint / name, static_cast<std::int64_t>(place));
    }
  }
  EXPECT_FALSE(find_checkpoint_damage(checkpoint).has_value());
}

TEST_F(Checkpoints, ATruncatedOrMissingFileIsSeen) {
  const fs::path checkpoint = save(3);
  const std::map<std::string, std::string> sound = contents_of(checkpoint);
  for (const auto& [name, content] : sound) {
    fs::resize_file(checkpoint / name, content.size() - 3);  // more than the manifest's line end
    EXPECT_TRUE(find_checkpoint_damage(checkpoint).has_value()) << name << " truncated";
    fs::remove(checkpoint / name);
    const auto damage = find_checkpoint_damage(checkpoint);
    ASSERT_TRUE(damage.has_value()) << name << " missing";
    EXPECT_THAT(*damage, HasSubstr(name));
    std::ofstream(checkpoint / name, std::ios::binary) << content;
  }
  EXPECT_FALSE(find_checkpoint_damage(checkpoint).has_value());
  EXPECT_TRUE(find_checkpoint_damage(folder / "step_000099").has_value()) << "no such folder";
}

TEST_F(Checkpoints, ADamagedOneLeavesTheModelAsItWas) {
  const fs::path checkpoint = save(3);
  flip_byte(checkpoint / "memory_tokens.safetensors", 200);
  const auto untouched = another_model(), loaded = another_model();
  EXPECT_THROW(load_checkpoint(checkpoint, *loaded), CheckpointError);
  EXPECT_TRUE(same_weights(*loaded, *untouched));
}

TEST_F(Checkpoints, AreListedNewestFirstWithoutLeftovers) {
  for (const std::int64_t step : {9, 100, 20}) save(step);
  fs::create_directories(folder / ".tmp_step_000200");
  fs::create_directories(folder / "step_");
  fs::create_directories(folder / "step_12x");
  std::ofstream(folder / "step_000300") << "a file";
  EXPECT_THAT(list_checkpoints(folder.path()),
              ElementsAre(folder / "step_000100", folder / "step_000020", folder / "step_000009"));
  EXPECT_THAT(list_checkpoints(folder / "none"), IsEmpty());
}

// ---- retention ----------------------------------------------------------------------------------

TEST_F(Checkpoints, RetentionKeepsTheLastAndTheBest) {
  for (std::int64_t step = 1; step <= 6; ++step) save(step);
  apply_retention(folder.path(), 2, 3);
  EXPECT_THAT(list_checkpoints(folder.path()),
              ElementsAre(folder / "step_000006", folder / "step_000005", folder / "step_000003"));
  apply_retention(folder.path(), 2, 6);
  EXPECT_THAT(list_checkpoints(folder.path()),
              ElementsAre(folder / "step_000006", folder / "step_000005"));
  apply_retention(folder.path(), 1, std::nullopt);
  EXPECT_THAT(list_checkpoints(folder.path()), ElementsAre(folder / "step_000006"));
  apply_retention(folder.path(), 0, std::nullopt);
  EXPECT_THAT(list_checkpoints(folder.path()), ElementsAre(folder / "step_000006"))
      << "the last one always stays";
}

TEST_F(Checkpoints, RetentionRemovesTheLeftoversOfDeadSaves) {
  save(1);
  fs::create_directories(folder / ".tmp_step_000002" / "adapters");
  apply_retention(folder.path(), 3, std::nullopt);
  EXPECT_FALSE(fs::exists(folder / ".tmp_step_000002"));
  EXPECT_TRUE(fs::exists(folder / "step_000001"));
}

TEST_F(Checkpoints, RetentionNeverDeletesTheLastGoodOne) {
  save(1);
  fs::remove(save(2) / "manifest.json");
  apply_retention(folder.path(), 1, std::nullopt);
  EXPECT_FALSE(find_checkpoint_damage(folder / "step_000001").has_value());
}

TEST_F(Checkpoints, RetentionDoesNotCountADamagedOneAsKept) {
  // A run that went on from step 1 because step 2 was damaged is stopped again before step 2.
  save(1);
  flip_byte(save(2) / "optimizer.safetensors", 150);
  apply_retention(folder.path(), 1, std::nullopt);
  EXPECT_TRUE(fs::exists(folder / "step_000001"));
  EXPECT_FALSE(find_checkpoint_damage(folder / "step_000001").has_value());
}

TEST_F(Checkpoints, RetentionDeletesNothingWhereNoneIsSound) {
  for (const std::int64_t step : {1, 2, 3}) fs::remove(save(step) / "clara.json");
  fs::create_directories(folder / ".tmp_step_000004");
  apply_retention(folder.path(), 1, std::nullopt);
  EXPECT_EQ(list_checkpoints(folder.path()).size(), 3U) << "one of them may be restored";
}

TEST_F(Checkpoints, LaterOnesCanBeSetAside) {
  for (const std::int64_t step : {1, 2, 3}) save(step);
  fs::create_directories(folder / "superseded_step_000003");
  EXPECT_THAT(set_later_checkpoints_aside(folder.path(), 1),
              ElementsAre(folder / "superseded_step_000003", folder / "superseded_step_000002"));
  EXPECT_THAT(list_checkpoints(folder.path()), ElementsAre(folder / "step_000001"));
  EXPECT_FALSE(find_checkpoint_damage(folder / "superseded_step_000003").has_value());
}

TEST_F(Checkpoints, TheirNameSaysTheirStep) {
  EXPECT_EQ(checkpoint_step(folder / "step_000012"), 12);
  EXPECT_EQ(checkpoint_step(folder / "step_000012" / ""), 12);
  EXPECT_EQ(checkpoint_step("step_1234567"), 1234567);
  for (const std::string name : {"final", "step_", "step_1x", "step_99999999999999999999"})
    EXPECT_THROW(checkpoint_step(folder / name), CheckpointError) << name;
}

// ---- failing saves ------------------------------------------------------------------------------

TEST_F(Checkpoints, AFailingSaveLeavesTheOldOneAndNothingElse) {
  const fs::path old = save(1);
  const auto before = contents_of(folder.path());
  // The format cannot hold this type, so the save fails when most files are written.
  TrainState state = tiny_state(2);
  state.optimizer["broken"] = torch::zeros({2}, torch::kComplexDouble);
  EXPECT_THAT(
      message_of([&] { save_checkpoint(folder.path(), *model, tiny_description(), state); }),
      AllOf(HasSubstr("step_000002"), HasSubstr("could not be saved")));
  EXPECT_EQ(contents_of(folder.path()), before);
  EXPECT_EQ(folder.size(), 1U) << "no temporary folder is left";
  EXPECT_FALSE(find_checkpoint_damage(old).has_value());
}

TEST_F(Checkpoints, AFailingSaveOfTheSameStepLeavesTheOldOne) {
  const fs::path old = save(2);
  TrainState state = tiny_state(2);
  state.optimizer["broken"] = torch::zeros({2}, torch::kComplexDouble);
  EXPECT_THROW(save_checkpoint(folder.path(), *model, tiny_description(), state), CheckpointError);
  EXPECT_FALSE(find_checkpoint_damage(old).has_value());
}

TEST_F(Checkpoints, AFolderThatCannotBeWrittenIsNamed) {
  std::ofstream(folder / "file") << "x";
  EXPECT_THAT(message_of([&] {
                save_checkpoint(folder / "file" / "checkpoints", *model, tiny_description(),
                                tiny_state(1));
              }),
              HasSubstr((folder / "file" / "checkpoints").string()));
  EXPECT_EQ(read_file(folder / "file"), "x");
}

TEST_F(Checkpoints, ALeftoverOfTheSameStepDoesNotDisturbASave) {
  fs::create_directories(folder / ".tmp_step_000004");
  std::ofstream(folder / ".tmp_step_000004" / "stray") << "x";
  const fs::path checkpoint = save(4);
  EXPECT_FALSE(fs::exists(checkpoint / "stray"));
  EXPECT_FALSE(find_checkpoint_damage(checkpoint).has_value());
  EXPECT_EQ(folder.size(), 1U);
}

TEST_F(Checkpoints, AnotherShapeIsRefusedByName) {
  const fs::path checkpoint = save(1);
  const BaseConfig config = tiny_config();
  ClaraModel more_memory(BaseLlm(config, tiny_weights(config)), tiny_lora(), 8, "noise", 1);
  EXPECT_THAT(message_of([&] { load_checkpoint(checkpoint, more_memory); }),
              AllOf(HasSubstr("memory_rows"), HasSubstr("[8, 32]"), HasSubstr("[4, 32]")));
  EXPECT_THAT(message_of([&] { load_checkpoint(checkpoint, *another_model(/*tied=*/false)); }),
              HasSubstr("head_rows"));
}

}  // namespace
}  // namespace clara::testing
