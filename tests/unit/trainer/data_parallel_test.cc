// The law of convention 7 over ranks: a step's rows on one, two or four of them give the same
// update, whoever gets how many rows.
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/rank_threads.h"
#include "tests/support/tiny_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/latents/document_latents.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/trainer/train_loop.h"

namespace clara::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using torch::Tensor;
namespace fs = std::filesystem;

/// A stage on a tiny model, for one rank.
struct RankStage {
  RankStage(const std::string& stage, bool checkpointing) : model(tiny_model()) {
    if (stage == "joint") {
      documents =
          std::make_unique<DocumentLatents>(*model, std::make_unique<MemoryLatentStore>(), 1024);
      JointSettings settings;
      settings.num_selected = 2;
      settings.lora_dropout = 0;
      settings.activation_checkpointing = checkpointing;
      objective = std::make_unique<JointObjective>(*model, *documents, settings);
    } else {
      CompressionSettings settings;
      settings.lora_dropout = 0;
      settings.activation_checkpointing = checkpointing;
      objective = std::make_unique<CompressionObjective>(*model, settings);
    }
  }
  std::unique_ptr<ClaraModel> model;
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
};

std::vector<Example> rows_of(const std::string& stage, std::int64_t count) {
  if (stage == "scp") return scp_rows(count);
  if (stage == "joint") return joint_rows(count);
  std::vector<Example> rows;
  for (std::int64_t i = 0; i < count; ++i)
    rows.push_back(tiny_example(300 + static_cast<std::uint64_t>(i), {3, 3, false, {}}));
  return rows;
}

struct RunSettings {
  std::string stage = "scp";
  std::int64_t num_rows = 23;
  std::int64_t rows_per_step = 6;
  std::int64_t num_epochs = 5;
  std::int64_t bucket_bytes = 512;
  bool checkpointing = false;
};

struct RunOutcome {
  std::vector<double> losses;
  std::vector<MetricRow> rows;
  std::vector<MetricRow> validations;
  std::vector<Tensor> weights;
  std::int64_t num_encoded = 0;  ///< over the ranks
};

class Recorder final : public TrainObserver {
 public:
  explicit Recorder(RunOutcome& outcome) : outcome_(outcome) {}
  void on_step(std::int64_t /*step*/, std::int64_t /*total*/, const MetricRow& metrics) override {
    outcome_.losses.push_back(metrics.at("loss"));
    outcome_.rows.push_back(metrics);
  }
  void on_validation(std::int64_t /*step*/, const MetricRow& metrics) override {
    outcome_.validations.push_back(metrics);
  }

 private:
  RunOutcome& outcome_;
};

/// Trains on `world` ranks; checks that all of them end with the same bits; returns rank 0's view.
RunOutcome train(std::int64_t world, const RunSettings& settings, const fs::path& folder) {
  std::vector<RunOutcome> outcomes(static_cast<std::size_t>(world));
  std::vector<std::unique_ptr<RankStage>> stages;  // made one after another: they draw from one RNG
  for (std::int64_t r = 0; r < world; ++r)
    stages.push_back(std::make_unique<RankStage>(settings.stage, settings.checkpointing));
  const std::vector<Example> validation = rows_of(settings.stage, 3);
  const auto work = [&](Communicator& group) {
    const auto rank = static_cast<std::size_t>(group.rank());
    torch::set_num_threads(1);
    RankStage& stage = *stages[rank];
    ExampleList data(rows_of(settings.stage, settings.num_rows));
    ModelDescription description;
    description.stage = settings.stage;
    description.num_memory_tokens = kTinyNumMemory;
    description.lora = tiny_lora();
    TrainerConfig trainer;
    trainer.rows_per_step = settings.rows_per_step;
    trainer.rows_per_micro_batch = 2;
    trainer.num_epochs = settings.num_epochs;
    trainer.peak_learning_rate = 1e-3;
    trainer.validate_every_steps = 10;
    OutputConfig output;
    output.folder = folder.string();
    output.save_every_steps = 0;
    LoggingConfig logging;
    logging.tensorboard = false;
    TrainLoopInputs inputs{*stage.model, *stage.objective, data,    validation,
                           group,        description,      trainer, output,
                           logging,      "stage: x\n",     {},      {}};
    inputs.bucket_bytes = settings.bucket_bytes;
    if (stage.documents != nullptr) {
      inputs.prepare_rows = [&](const std::vector<Example>& rows) {
        stage.documents->share(documents_of(rows), group);
      };
    }
    Recorder recorder(outcomes[rank]);
    train_loop(inputs, recorder);
    for (const TrainedParameter& p : stage.objective->trained_parameters())
      outcomes[rank].weights.push_back(p.tensor.detach().clone());
    if (stage.documents != nullptr) outcomes[rank].num_encoded = stage.documents->num_encoded();
  };
  if (world == 1) {
    SingleProcessCommunicator alone;
    work(alone);
  } else {
    EXPECT_THAT(run_ranks(world, work), Each(""));
  }
  for (std::size_t r = 1; r < outcomes.size(); ++r) {
    EXPECT_EQ(outcomes[r].losses, outcomes[0].losses);
    EXPECT_EQ(outcomes[r].validations, outcomes[0].validations);
    EXPECT_EQ(outcomes[r].weights.size(), outcomes[0].weights.size());
    for (std::size_t i = 0; i < outcomes[0].weights.size(); ++i)
      EXPECT_TRUE(torch::equal(outcomes[r].weights[i], outcomes[0].weights[i])) << r << ", " << i;
    outcomes[0].num_encoded += outcomes[r].num_encoded;
  }
  return std::move(outcomes[0]);
}

/// The first step differs by the order of sums alone; AdamW makes more of it from step to step,
/// where a gradient is not much larger than its rounding.
void expect_same_run(const RunOutcome& found, const RunOutcome& expected) {
  ASSERT_EQ(found.losses.size(), expected.losses.size());
  for (const char* name : {"loss", "gradient_norm"})
    EXPECT_NEAR(found.rows[0].at(name) / expected.rows[0].at(name), 1, 5e-7) << name;
  double largest_loss = 0, largest_weight = 0;
  for (std::size_t i = 0; i < expected.losses.size(); ++i) {
    largest_loss = std::max(largest_loss, std::abs(found.losses[i] - expected.losses[i]) /
                                              std::abs(expected.losses[i]));
    for (const char* name : {"rows", "tokens", "answer_tokens"})
      EXPECT_EQ(found.rows[i].at(name), expected.rows[i].at(name)) << name << " of step " << i + 1;
  }
  ASSERT_EQ(found.weights.size(), expected.weights.size());
  for (std::size_t i = 0; i < expected.weights.size(); ++i) {
    const double scale = expected.weights[i].abs().max().item<double>();
    largest_weight =
        std::max(largest_weight,
                 (found.weights[i] - expected.weights[i]).abs().max().item<double>() / scale);
  }
  EXPECT_LT(largest_loss, 2e-5);
  EXPECT_LT(largest_weight, 2e-4);
}

class DataParallel : public ::testing::TestWithParam<std::string> {};

TEST_P(DataParallel, TwentyStepsOnTwoAndFourRanksAreThoseOfOne) {
  const TemporaryFolder folder;
  RunSettings settings;
  settings.stage = GetParam();  // 23 rows, 6 a step: 5 in the last step of an epoch
  const RunOutcome one = train(1, settings, folder.path() / "one");
  ASSERT_EQ(one.losses.size(), 20U);
  for (const std::int64_t world : {2, 4}) {
    SCOPED_TRACE(std::to_string(world) + " ranks");
    const RunOutcome many = train(world, settings, folder.path() / std::to_string(world));
    expect_same_run(many, one);
    // Each distinct document is encoded by one rank, once.
    EXPECT_EQ(many.num_encoded, one.num_encoded);
    EXPECT_TRUE(fs::exists(folder.path() / std::to_string(world) / "final" / "clara.json"));
  }
}

TEST_P(DataParallel, ARankWithoutRowsTakesPart) {
  const TemporaryFolder folder;
  RunSettings settings;
  settings.stage = GetParam();
  settings.num_rows = 7;  // 3 a step: the fourth rank never gets one, in the tail three get none
  settings.rows_per_step = 3;
  settings.num_epochs = 2;
  expect_same_run(train(4, settings, folder.path() / "four"),
                  train(1, settings, folder.path() / "one"));
}

INSTANTIATE_TEST_SUITE_P(Stages, DataParallel, ::testing::Values("scp", "tune", "joint"),
                         [](const auto& stage) { return stage.param; });

TEST(DataParallelCases, BucketsAndCheckpointingChangeNothing) {
  const TemporaryFolder folder;
  RunSettings settings;
  settings.num_epochs = 1;
  const RunOutcome plain = train(2, settings, folder.path() / "plain");
  settings.bucket_bytes = std::int64_t{1} << 30;
  const RunOutcome one_bucket = train(2, settings, folder.path() / "bucket");
  settings.bucket_bytes = 512;
  settings.checkpointing = true;
  const RunOutcome checkpointed = train(2, settings, folder.path() / "checkpointed");
  for (std::size_t i = 0; i < plain.weights.size(); ++i) {
    // Two ranks: a sum of two numbers has one order.
    EXPECT_TRUE(torch::equal(plain.weights[i], one_bucket.weights[i])) << i;
    EXPECT_TRUE(torch::allclose(plain.weights[i], checkpointed.weights[i], 1e-4, 1e-6)) << i;
  }
}

TEST(DataParallelCases, ANonFiniteLossEndsEveryRankAndNamesTheOneThatHadIt) {
  std::vector<std::unique_ptr<RankStage>> stages;
  for (int r = 0; r < 3; ++r) stages.push_back(std::make_unique<RankStage>("scp", false));
  {
    const torch::NoGradGuard no_grad;
    stages[1]->model->memory().memory_rows.fill_(std::numeric_limits<float>::infinity());
  }
  const std::vector<Example> rows = scp_rows(6);
  const RankEnds ends = run_ranks(3, [&](Communicator& group) {
    torch::set_num_threads(1);
    Objective& objective = *stages[static_cast<std::size_t>(group.rank())]->objective;
    AdamW optimizer(objective.trained_parameters(), {});
    const auto first = static_cast<std::ptrdiff_t>(2 * group.rank());
    accumulate_gradients(objective, optimizer, group,
                         {rows.begin() + first, rows.begin() + first + 2}, 4, {0, 8192, 1});
  });
  EXPECT_THAT(ends, Each(HasSubstr("rank 1 of 3 stopped: non-finite loss at step 5 (rows from "
                                   "rows.jsonl:102 to rows.jsonl:103)")));
  EXPECT_THAT(ends, Each(::testing::Not(HasSubstr("rank 0"))));
}

}  // namespace
}  // namespace clara::testing
