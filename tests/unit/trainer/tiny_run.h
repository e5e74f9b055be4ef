// A run of the training loop on a tiny model, with rows and an objective that can be made to fail.
#pragma once

#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/tiny_model.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/train_state.h"
#include "clara/common/error.h"
#include "clara/objectives/compression_objective.h"
#include "clara/trainer/train_loop.h"

namespace clara::testing {

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
  explicit TinyRun(std::filesystem::path run_folder, std::int64_t num_rows = 11,
                   std::int64_t bad_step = -1)
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

  std::filesystem::path checkpoint(std::int64_t step) const {
    return folder / "checkpoints" / checkpoint_name(step);
  }

  std::filesystem::path folder;
  std::unique_ptr<ClaraModel> model;
  SpoiltObjective objective;
  WatchedRows data;
  std::vector<Example> validation;
  TrainerConfig trainer;
  OutputConfig output;
  LoggingConfig logging;
  std::optional<std::filesystem::path> resume;
  std::function<bool()> should_stop;
  Watcher watcher;
};

/// All adapters and memory rows.
inline std::vector<torch::Tensor> weights_of(const ClaraModel& model) {
  std::vector<torch::Tensor> weights = {model.memory().memory_rows};
  for (AdapterRole role : kAdapterRoles) {
    for (const NamedTensor& named : model.adapter(role).named_tensors())
      weights.push_back(named.tensor);
  }
  return weights;
}

inline void expect_same_weights(const ClaraModel& found, const ClaraModel& expected) {
  const std::vector<torch::Tensor> a = weights_of(found), b = weights_of(expected);
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) EXPECT_TRUE(torch::equal(a[i], b[i])) << i;
}

inline std::vector<nlohmann::json> metric_rows(const std::filesystem::path& folder) {
  std::vector<nlohmann::json> rows;
  std::ifstream in(folder / "metrics.jsonl");
  for (std::string line; std::getline(in, line);) rows.push_back(nlohmann::json::parse(line));
  return rows;
}

}  // namespace clara::testing
