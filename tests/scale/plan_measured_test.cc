// --plan against a step that runs: operations of every product, bytes of every tensor kept.
#include <atomic>
#include <fstream>
#include <string>
#include <string_view>
#include <tuple>

#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/config/load_config.h"
#include "clara/latents/latent_store.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/trainer/optimizer.h"
#include "clara/trainer/run_plan.h"
#include "clara/trainer/train_step.h"

namespace clara::testing {
namespace {

using Json = nlohmann::json;

constexpr double kAllowed = 0.10;
constexpr std::int64_t kRowsPerStep = 4;
constexpr std::int64_t kMaxSequence = 192;

std::atomic<std::int64_t> operations{0};

/// Multiplications and additions of the matrix products that run while this lives.
class ProductCounter {
 public:
  ProductCounter() {
    operations = 0;
    handle_ = at::addGlobalCallback(
        at::RecordFunctionCallback(count).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
  }
  ~ProductCounter() { at::removeCallback(handle_); }
  static double counted() { return static_cast<double>(operations); }

 private:
  static std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
    const std::string_view name = function.name();
    const auto inputs = function.inputs();
    // The sum's own term comes first where there is one.
    const std::size_t first = name == "aten::addmm" || name == "aten::addmm_" ||
                                      name == "aten::baddbmm" || name == "aten::baddbmm_"
                                  ? 1
                                  : 0;
    if (first == 0 && name != "aten::mm" && name != "aten::bmm") return nullptr;
    const torch::Tensor &a = inputs[first].toTensor(), &b = inputs[first + 1].toTensor();
    operations += 2 * a.numel() * b.size(-1);
    return nullptr;
  }

  at::CallbackHandle handle_;
};

/// Bytes that the heap has given out.
double heap_bytes() {
  const struct mallinfo2 heap = ::mallinfo2();
  return static_cast<double>(heap.uordblks) + static_cast<double>(heap.hblkhd);
}

double value_of(const std::vector<PlanLine>& lines, const std::string& name) {
  for (const PlanLine& line : lines) {
    if (line.name == name) return line.value;
  }
  ADD_FAILURE() << "the plan has no line \"" << name << "\"";
  return -1;
}

TokenIds memory_slots(std::int64_t num_memory, std::int64_t vocab_rows) {
  TokenIds tokens;
  for (std::int64_t j = 0; j < num_memory; ++j)
    tokens.push_back(static_cast<TokenId>(vocab_rows + j));
  return tokens;
}

/// A base model's folder without tokenizer: the plan then takes every row to be as long as allowed.
RunConfig planned_config(Stage stage, const std::string& family,
                         const std::filesystem::path& folder) {
  const Json base = {
      {"model_type", family},   {"hidden_size", 256},       {"intermediate_size", 640},
      {"num_hidden_layers", 6}, {"num_attention_heads", 8}, {"num_key_value_heads", 4},
      {"head_dim", 32},         {"vocab_size", 1000},       {"max_position_embeddings", 512},
      {"rms_norm_eps", 1e-5},   {"rope_theta", 10000.0},    {"tie_word_embeddings", true},
      {"hidden_act", "silu"}};
  std::ofstream(folder / "config.json") << base;
  std::ofstream rows(folder / "rows.jsonl");
  for (std::int64_t i = 0; i < kRowsPerStep; ++i) rows << "{}\n";
  rows.close();
  RunConfig config = default_run_config(stage);
  config.model.base = folder.string();
  config.model.dtype = Dtype::kFloat32;
  config.model.device = Device::kCpu;
  config.model.doc_max_tokens = 128;
  config.model.compression_rate = 16;
  config.model.lora.dropout = 0;
  config.data.train.resize(1);
  config.data.train[0].path = (folder / "rows.jsonl").string();
  config.objective.num_selected = 3;
  config.trainer.rows_per_step = static_cast<std::int32_t>(kRowsPerStep);
  config.trainer.max_sequence_tokens = static_cast<std::int32_t>(kMaxSequence);
  config.trainer.max_tokens_per_micro_batch = 100000;
  config.output.folder = "run";
  return config;
}

/// A row of exactly the sizes of `plan`.
Example planned_row(const RunConfig& config, const RunPlan& plan, const BaseConfig& base,
                    std::uint64_t seed) {
  SeedStream stream(seed);
  const std::int64_t num_memory = config.num_memory_tokens();
  const auto text = [&](std::int64_t count) {
    TokenIds tokens;
    for (std::int64_t i = 0; i < count; ++i)
      tokens.push_back(
          static_cast<TokenId>(3 + stream.below(static_cast<std::uint64_t>(base.vocab_rows - 3))));
    return tokens;
  };
  const auto encoder_input = [&](double tokens) {
    TokenIds input = text(static_cast<std::int64_t>(tokens) - num_memory);
    for (const TokenId slot : memory_slots(num_memory, base.vocab_rows)) input.push_back(slot);
    return input;
  };
  Example row;
  for (std::int64_t k = 0; k < static_cast<std::int64_t>(plan.documents); ++k)
    row.documents.push_back(encoder_input(plan.document_tokens / plan.documents));
  if (plan.question_tokens > 0) row.question = encoder_input(plan.question_tokens);
  row.num_slots = config.stage == Stage::kScp ? 1 : config.objective.num_selected;
  for (std::int32_t s = 0; s < row.num_slots; ++s) {
    for (const TokenId slot : memory_slots(num_memory, base.vocab_rows)) row.tokens.push_back(slot);
    row.tokens.push_back(static_cast<TokenId>(base.vocab_rows + num_memory + 2));
  }
  row.prompt_length = static_cast<std::int32_t>(row.tokens.size());
  for (const TokenId token : text(kMaxSequence - row.prompt_length)) row.tokens.push_back(token);
  return row;
}

class PlanMeasured : public ::testing::TestWithParam<std::tuple<Stage, std::string>> {};

TEST_P(PlanMeasured, OperationsAndBytesAreThoseOfAStep) {
  const TemporaryFolder folder;
  const auto& [stage, family] = GetParam();
  const RunConfig config = planned_config(stage, family, folder.path());
  const RunPlan plan = make_run_plan(config, 1);
  ASSERT_EQ(plan.rows_sampled, 0);

  const BaseConfig base = load_base_config(config.model.base);
  LoraSettings lora{config.model.lora.rank, config.model.lora.alpha, 0.0,
                    config.model.lora.target_modules};
  BaseWeights weights = tiny_weights(base);
  double base_bytes = static_cast<double>(weights.embedding.nbytes() + weights.final_norm.nbytes());
  for (const DecoderLayerWeights& layer : weights.layers) {
    base_bytes +=
        static_cast<double>(layer.input_norm.nbytes() + layer.post_attention_norm.nbytes());
    for (const torch::Tensor& norm : {layer.q_norm, layer.k_norm})
      base_bytes += norm.defined() ? static_cast<double>(norm.nbytes()) : 0.0;
    for (const torch::Tensor& t : layer.projections) base_bytes += static_cast<double>(t.nbytes());
  }
  EXPECT_NEAR(value_of(plan.memory_bytes, "base weights"), base_bytes, kAllowed * base_bytes);
  ClaraModel model(BaseLlm(base, std::move(weights)), lora, config.num_memory_tokens(), "noise", 1);

  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
  if (config.stage == Stage::kJoint) {
    documents =
        std::make_unique<DocumentLatents>(model, std::make_unique<MemoryLatentStore>(), 100000);
    objective = std::make_unique<JointObjective>(
        model, *documents,
        JointSettings{config.objective.num_selected, 0.2, TopkMask::kLeaky, 0.0, false});
  } else {
    CompressionSettings settings;
    settings.lora_dropout = 0;
    settings.bos_id = kTinyBos;
    settings.eos_id = kTinyEos;
    objective = std::make_unique<CompressionObjective>(model, settings);
  }
  std::vector<Example> rows;
  for (std::int64_t i = 0; i < kRowsPerStep; ++i)
    rows.push_back(planned_row(config, plan, base, 100 + static_cast<std::uint64_t>(i)));

  const double before_optimizer = heap_bytes();
  AdamW optimizer(objective->trained_parameters(), config.trainer);
  const double kept =
      value_of(plan.memory_bytes, "gradients") + value_of(plan.memory_bytes, "optimizer");
  // The trained weights move into the optimizer's buffer, and their old memory is free again.
  EXPECT_NEAR(heap_bytes() - before_optimizer, kept, kAllowed * kept);

  SingleProcessCommunicator communicator;
  const StepSettings settings{0, config.trainer.max_tokens_per_micro_batch, 17};
  {
    const ProductCounter counter;
    accumulate_gradients(*objective, optimizer, communicator, rows, 0, settings);
    EXPECT_NEAR(ProductCounter::counted(), plan.operations_per_step,
                kAllowed * plan.operations_per_step);
  }
  if (config.stage == Stage::kJoint) {
    const ProductCounter counter;
    accumulate_gradients(*objective, optimizer, communicator, rows, 0, settings);
    EXPECT_NEAR(ProductCounter::counted(), plan.warm_operations_per_step,
                kAllowed * plan.warm_operations_per_step);
  }
  // What the graph keeps between forward and backward, the store and the buffers of before aside.
  const double before_forward = heap_bytes();
  const std::vector<LossTerm> losses = objective->forward(pointers_to(rows), {0, 0, 0, 17, true});
  const double activations = value_of(plan.memory_bytes, "activations of a micro-batch");
  EXPECT_NEAR(heap_bytes() - before_forward, activations, kAllowed * activations);
}

INSTANTIATE_TEST_SUITE_P(Stages, PlanMeasured,
                         ::testing::Combine(::testing::Values(Stage::kScp, Stage::kTune,
                                                              Stage::kJoint),
                                            ::testing::Values("llama", "qwen3")),
                         [](const auto& run) {
                           return to_string(std::get<0>(run.param)) + "_" + std::get<1>(run.param);
                         });

}  // namespace
}  // namespace clara::testing
