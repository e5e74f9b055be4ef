// --plan against the hand count of docs/scale.md, and the limits that the base model sets.
#include "clara/trainer/run_plan.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/checkpoint/open_model.h"
#include "clara/common/error.h"
#include "clara/config/load_config.h"
#include "clara/trainer/sequence_limits.h"

namespace clara::testing {
namespace {

using ::testing::HasSubstr;

const std::string kSource = CLARA_SOURCE_DIR;

/// A stage's defaults on the config.json of a published model, without weights and tokenizer.
RunConfig config_of(Stage stage, const std::string& model) {
  RunConfig config = default_run_config(stage);
  config.model.base = kSource + "/tests/fixtures/configs/" + model;
  config.model.dtype = Dtype::kBfloat16;
  config.data.train.resize(1);
  config.data.train[0].path = kSource + "/data/samples/" + to_string(stage) + ".jsonl";
  config.output.folder = "run";
  return config;
}

double value_of(const std::vector<PlanLine>& lines, const std::string& name) {
  for (const PlanLine& line : lines) {
    if (line.name == name) return line.value;
  }
  ADD_FAILURE() << "the plan has no line \"" << name << "\"";
  return -1;
}

/// What docs/scale.md counts by hand: parameters, and for each stage and number of devices the
/// bytes of one device and the operations of a step.
struct HandCount {
  std::string model;
  std::string title;
  double base, adapter, memory_rows;
  double weight_bytes, adapter_bytes, logit_bytes;
  double activation_bytes_8192, activation_bytes_5196;
  double scp_operations, tune_operations, joint_operations, warm_joint_operations;
};

const HandCount kHandCounts[] = {
    {"mistral-7b-instruct-v0.2", "Mistral-7B", 7241732096.0, 41943040.0, 65536.0, 14483464192.0,
     503578624.0, 16384000.0, 24821891072.0, 15743963136.0, 8941990209126400.0, 12934065002905600.0,
     3699144996683776.0, 1214971983691776.0},
    {"phi-4-mini-instruct", "Phi-4-mini", 3836021760.0, 23068672.0, 49152.0, 7672043520.0,
     277020672.0, 102432768.0, 16190013440.0, 10268958720.0, 4833874903302144.0, 6668997693014016.0,
     1787948657803264.0, 636441291915264.0},
};

struct StageCount {
  Stage stage;
  double operations, trained;
};

std::vector<StageCount> stages_of(const HandCount& hand) {
  return {{Stage::kScp, hand.scp_operations, 2 * hand.adapter + hand.memory_rows},
          {Stage::kTune, hand.tune_operations, 2 * hand.adapter + hand.memory_rows},
          {Stage::kJoint, hand.joint_operations, 2 * hand.adapter}};
}

TEST(RunPlan, AgreesWithTheHandCount) {
  for (const HandCount& hand : kHandCounts) {
    for (const StageCount& count : stages_of(hand)) {
      for (const std::int64_t num_gpus : {1, 2, 8}) {
        SCOPED_TRACE(hand.title + " " + to_string(count.stage) + " " + std::to_string(num_gpus));
        const RunPlan plan = make_run_plan(config_of(count.stage, hand.model), num_gpus);
        EXPECT_EQ(plan.rows_sampled, 0) << "there is no tokenizer";
        EXPECT_EQ(value_of(plan.parameters, "base (frozen)"), hand.base);
        for (const char* name :
             {"compressor adapter", "query reasoner adapter", "generator adapter"})
          EXPECT_EQ(value_of(plan.parameters, name), hand.adapter);
        EXPECT_EQ(value_of(plan.parameters, "memory rows"), hand.memory_rows);
        EXPECT_EQ(value_of(plan.parameters, "trained in this stage"), count.trained);

        // 32 rows on 8 devices are fewer tokens than a micro-batch may have.
        const bool is_small = count.stage == Stage::kJoint && num_gpus == 8;
        const double activations =
            is_small ? hand.activation_bytes_5196 : hand.activation_bytes_8192;
        EXPECT_EQ(value_of(plan.memory_bytes, "base weights"), hand.weight_bytes);
        EXPECT_EQ(value_of(plan.memory_bytes, "adapters and memory rows"), hand.adapter_bytes);
        EXPECT_EQ(value_of(plan.memory_bytes, "gradients"), count.trained * 4);
        EXPECT_EQ(value_of(plan.memory_bytes, "optimizer"), count.trained * 8);
        EXPECT_EQ(value_of(plan.memory_bytes, "activations of a micro-batch"), activations);
        EXPECT_EQ(value_of(plan.memory_bytes, "logits of a chunk"), hand.logit_bytes);
        EXPECT_EQ(plan.total_bytes, hand.weight_bytes + hand.adapter_bytes + count.trained * 12 +
                                        activations + hand.logit_bytes);
        EXPECT_TRUE(plan.fits_80_gb);

        EXPECT_DOUBLE_EQ(plan.operations_per_step, count.operations);
        EXPECT_DOUBLE_EQ(plan.warm_operations_per_step,
                         count.stage == Stage::kJoint ? hand.warm_joint_operations : 0.0);
        EXPECT_EQ(plan.rows_per_device, (count.stage == Stage::kJoint ? 32 : 128) / num_gpus);
        EXPECT_DOUBLE_EQ(plan.device_operations_per_step,
                         count.operations / static_cast<double>(num_gpus));
      }
    }
  }
}

TEST(RunPlan, AProcessOnTheCpuHoldsMoreThanItsTensors) {
  RunConfig config = config_of(Stage::kScp, "mistral-7b-instruct-v0.2");
  const RunPlan device = make_run_plan(config, 1);
  const auto has_line = [](const RunPlan& plan) {
    return std::any_of(
        plan.memory_bytes.begin(), plan.memory_bytes.end(),
        [](const PlanLine& line) { return line.name == "buffers, pages the heap keeps"; });
  };
  EXPECT_FALSE(has_line(device)) << "a device's allocator packs its tensors";
  config.model.device = Device::kCpu;
  config.model.dtype = Dtype::kFloat32;
  const RunPlan plan = make_run_plan(config, 1);
  ASSERT_TRUE(has_line(plan));
  double sum = 0;
  for (const PlanLine& line : plan.memory_bytes) {
    if (!line.name.starts_with("latent store")) sum += line.value;
  }
  EXPECT_EQ(plan.total_bytes, sum);
}

TEST(RunPlan, DocsShowWhatThePlanPrints) {
  std::ifstream in(kSource + "/docs/scale.md");
  std::ostringstream page;
  page << in.rdbuf();
  for (const HandCount& hand : kHandCounts) {
    for (const StageCount& count : stages_of(hand)) {
      for (const std::int64_t num_gpus : {1, 2, 8}) {
        const RunPlan plan = make_run_plan(config_of(count.stage, hand.model), num_gpus);
        char row[160];
        std::snprintf(row, sizeof row, "| %s | %s | %d | %d | %.2f | %.2f | %.2f | %.2f |\n",
                      hand.title.c_str(), to_string(count.stage).c_str(),
                      static_cast<int>(num_gpus), static_cast<int>(plan.rows_per_device),
                      value_of(plan.memory_bytes, "activations of a micro-batch") / 1e9,
                      plan.total_bytes / 1e9, plan.operations_per_step / 1e15,
                      plan.device_operations_per_step / 1e15);
        EXPECT_THAT(page.str(), HasSubstr(row));
      }
    }
  }
}

TEST(RunPlan, RecomputedActivationsCostOneMoreForwardPass) {
  RunConfig config = config_of(Stage::kScp, "mistral-7b-instruct-v0.2");
  const RunPlan kept = make_run_plan(config, 1);
  config.trainer.activation_checkpointing = true;
  const RunPlan again = make_run_plan(config, 1);
  // Per row: 2,048 + 275 tokens through 2 · (matrices + adapter), and their attention once more.
  const double tokens = 2048 + 275;
  const double forward =
      tokens * 2 * (6979321856.0 + 41943040.0) + 2.0 * 4096 * (2048.0 * 2048 + 275.0 * 275) * 32;
  EXPECT_DOUBLE_EQ(again.operations_per_step - kept.operations_per_step, 128 * forward);
  // The stream before each block, and one block's activations.
  EXPECT_EQ(value_of(again.memory_bytes, "activations of a micro-batch"),
            8192.0 * (2 * 4096 * 2 * 32 + 47216 * 2));
}

TEST(RunPlan, AutomaticDtypeIsThatOfAGpuUnlessTheConfigSaysCpu) {
  RunConfig config = config_of(Stage::kScp, "mistral-7b-instruct-v0.2");
  const auto weight_bytes = [&] {
    return value_of(make_run_plan(config, 1).memory_bytes, "base weights");
  };
  const double bfloat16 = weight_bytes();
  config.model.dtype = Dtype::kAuto;
  EXPECT_EQ(weight_bytes(), bfloat16);
  config.model.device = Device::kCpu;
  EXPECT_EQ(weight_bytes(),
            resolve_dtype(Dtype::kAuto, torch::kCPU) == torch::kBFloat16 ? bfloat16 : 2 * bfloat16);
  config.model.dtype = Dtype::kFloat32;
  EXPECT_EQ(weight_bytes(), 2 * bfloat16);
}

TEST(RunPlan, ShowsTheDevicesAndWhereTheTokensComeFrom) {
  const std::string text =
      render_plan(make_run_plan(config_of(Stage::kJoint, "phi-4-mini-instruct"), 8));
  for (const char* part : {"8 device(s)", "no tokenizer beside config.json",
                           "rows a step on one device", "with a warm latent store"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

// ---- limits -------------------------------------------------------------------------------------

std::string refusal(const RunConfig& config) {
  try {
    make_run_plan(config, 1);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "no ConfigError";
}

TEST(SequenceLimits, AWindowSmallerThanTheLimitIsRefusedByTheKeyThatSetsTheLimit) {
  RunConfig config = config_of(Stage::kScp, "phi-3-mini-4k-instruct");
  EXPECT_EQ(config.trainer.max_sequence_tokens, 2048);
  EXPECT_EQ(
      refusal(config),
      "trainer.max_sequence_tokens: sequences of 2048 tokens are longer than the base model's "
      "sliding window of 2047 tokens (config.json: sliding_window); set it to 2047 or less");
  config.trainer.max_sequence_tokens = 2047;
  EXPECT_EQ(refusal(config), "no ConfigError") << "the window holds the longest sequence";
  EXPECT_EQ(refusal(config_of(Stage::kJoint, "phi-3-mini-4k-instruct")), "no ConfigError")
      << "1,024 tokens by default";
}

TEST(SequenceLimits, PositionsAndDocumentsAreCheckedToo) {
  RunConfig config = config_of(Stage::kTune, "phi-3-mini-4k-instruct");
  config.trainer.max_sequence_tokens = 1024;
  config.model.doc_max_tokens = 2048;  // + 3 + 128 memory tokens
  EXPECT_THAT(refusal(config), HasSubstr("model.doc_max_tokens: sequences of 2179 tokens"));
  config = config_of(Stage::kTune, "mistral-7b-instruct-v0.2");
  config.trainer.max_sequence_tokens = 32769;
  EXPECT_THAT(refusal(config),
              HasSubstr("32768 positions (config.json: max_position_embeddings); set it to 32768"));
  config.stage = Stage::kRetriever;  // reads no prompts
  EXPECT_EQ(refusal(config), "no ConfigError");
}

}  // namespace
}  // namespace clara::testing
