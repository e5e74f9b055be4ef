// The field table is complete: every member of the structs is in it, can be set, printed and is
// described.
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "config/field_table.h"
#include "tests/unit/config/config_text.h"
#include <gtest/gtest.h>

#include "clara/config/load_config.h"

namespace clara::test {
namespace {

/// A value other than the default for every path of the reference page.
const std::map<std::string, std::string>& other_values() {
  static const std::map<std::string, std::string> kValues = {
      {"model.base", "other/base"},
      {"model.init_from", "other/checkpoint"},
      {"model.adapters.compressor", "peft/compressor"},
      {"model.adapters.query_reasoner", "peft/query_reasoner"},
      {"model.adapters.generator", "peft/generator"},
      {"model.compression_rate", "32"},
      {"model.doc_max_tokens", "512"},
      {"model.lora.rank", "8"},
      {"model.lora.alpha", "8"},
      {"model.lora.dropout", "0"},
      {"model.lora.target_modules", "[q_proj]"},
      {"model.memory_init", "tokens"},
      {"model.dtype", "bfloat16"},
      {"model.device", "cpu"},
      {"model.chat_format", "chatml"},
      {"data.train", "[other.jsonl]"},
      {"data.train.0.path", "another.jsonl"},
      {"data.train.0.weight", "2"},
      {"data.train.0.max_rows", "3"},
      {"data.validation", "[valid.jsonl]"},
      {"data.validation.0.path", "other_valid.jsonl"},
      {"data.validation.0.weight", "2"},
      {"data.validation.0.max_rows", "3"},
      {"data.max_rows", "10"},
      {"data.shuffle_seed", "1"},
      {"data.document_format", "ml_clara"},
      {"data.on_bad_record", "skip"},
      {"objective.alignment_weight", "0.5"},
      {"objective.latent_token_loss.weight", "1"},
      {"objective.latent_token_loss.steps", "50"},
      {"objective.latent_token_loss.only_steps", "20"},
      {"objective.latent_token_loss.target", "document"},
      {"objective.latent_token_loss.token_weights", "idf"},
      {"objective.generator_init", "reset"},
      {"objective.context", "text"},
      {"objective.num_selected", "3"},
      {"objective.temperature", "0.5"},
      {"objective.topk_mask", "exact"},
      {"objective.query_reasoner_init", "random"},
      {"objective.latent_cache", "disk"},
      {"objective.latent_cache_folder", "cache"},
      {"trainer.rows_per_step", "64"},
      {"trainer.rows_per_micro_batch", "4"},
      {"trainer.max_tokens_per_micro_batch", "4096"},
      {"trainer.num_epochs", "2"},
      {"trainer.max_steps", "5"},
      {"trainer.peak_learning_rate", "0.5"},
      {"trainer.memory_learning_rate_ratio", "10"},
      {"trainer.schedule", "constant"},
      {"trainer.adam_betas", "[0.8, 0.9]"},
      {"trainer.weight_decay", "0.1"},
      {"trainer.warmup_ratio", "0.1"},
      {"trainer.min_learning_rate_ratio", "0"},
      {"trainer.max_gradient_norm", "2"},
      {"trainer.max_sequence_tokens", "512"},
      {"trainer.activation_checkpointing", "true"},
      {"trainer.validate_every_steps", "0"},
      {"trainer.max_validation_rows", "0"},
      {"trainer.seed", "1"},
      {"trainer.num_threads", "1"},
      {"output.folder", "other/run"},
      {"output.save_every_steps", "0"},
      {"output.keep_last", "1"},
      {"output.on_save_error", "continue"},
      {"output.keep_best", "{metric: validation/loss}"},
      {"output.keep_best.metric", "validation/loss"},
      {"output.keep_best.mode", "min"},
      {"parallel.timeout_seconds", "60"},
      {"parallel.bucket_megabytes", "1"},
      {"logging.every_steps", "10"},
      {"logging.tensorboard", "false"},
  };
  return kValues;
}

/// The keys of the reference page, <index> as 0.
std::vector<std::string> described_paths() {
  std::vector<std::string> paths;
  std::istringstream page(describe_run_config());
  for (std::string line; std::getline(page, line);) {
    if (line.rfind("| `", 0) != 0) continue;
    std::string path = line.substr(3, line.find('`', 3) - 3);
    const std::size_t index = path.find("<index>");
    if (index != std::string::npos) path = path.substr(0, index) + '0' + path.substr(index + 7);
    paths.push_back(path);
  }
  return paths;
}

/// A stage that uses the field at `path`.
Stage stage_for(const std::string& path) {
  for (const Field<RunConfig>& field : run_config_fields()) {
    if (field.path != path) continue;
    for (Stage stage : kStages) {
      if ((field.rule.stages & stage_bit(stage)) != 0) return stage;
    }
  }
  return Stage::kScp;
}

/// The minimal config of `stage`, on which every single change of other_values() is valid.
std::string base_config(Stage stage, const std::string& path) {
  std::string text = minimal_config(to_string(stage));
  text.replace(text.find("[train.jsonl]"), 13, "[train.jsonl], validation: [v.jsonl]}");
  text.replace(text.find("data:\n  train"), 13, "data: {train");
  if (path.rfind("output.keep_best.", 0) == 0) {
    text.replace(text.find("runs/a"), 6, "runs/a, keep_best: {metric: validation/latent_gap}");
  }
  if (path == "objective.latent_token_loss.only_steps") {
    text += "objective: {latent_token_loss: {weight: 1, steps: 20}}\n";
  }
  return text;
}

TEST(ConfigTable, EveryDescribedPathCanBeSetAndChangesWhatIsPrinted) {
  std::set<std::string> described;
  for (const std::string& path : described_paths()) {
    EXPECT_TRUE(described.insert(path).second) << path << " is described twice";
    if (path == "stage") continue;
    ASSERT_TRUE(other_values().count(path)) << "no value for " << path;
    const Stage stage = stage_for(path);
    const std::string text = base_config(stage, path);
    const RunConfig before = parse(text);
    const RunConfig after = parse(text, {path + "=" + other_values().at(path)});
    EXPECT_NE(print_run_config(before), print_run_config(after)) << path;
    EXPECT_EQ(diff_run_configs(before, after).size(), 1U) << path;
    EXPECT_EQ(diff_run_configs(after, parse(print_run_config(after))), std::vector<std::string>{})
        << path;
  }
  EXPECT_EQ(described.size(), other_values().size() + 1);
}

TEST(ConfigTable, EveryTableFieldIsDescribed) {
  const std::vector<std::string> paths = described_paths();
  const std::set<std::string> described(paths.begin(), paths.end());
  for (const Field<RunConfig>& field : run_config_fields()) {
    EXPECT_TRUE(described.count(field.path)) << field.path;
    EXPECT_FALSE(field.rule.doc.empty()) << field.path;
  }
}

/// Every other value that the stage uses, at once.
RunConfig all_changed(Stage stage) {
  std::vector<std::string> assignments;
  for (const auto& [path, value] : other_values()) {
    bool is_used = true;
    for (const Field<RunConfig>& field : run_config_fields()) {
      if (field.path == path) is_used = (field.rule.stages & stage_bit(stage)) != 0;
    }
    // Text in the prompt and a loss of latents exclude each other.
    if (is_used && path != "objective.context") assignments.push_back(path + "=" + value);
  }
  return parse(minimal_config(to_string(stage)), assignments);
}

// The structured bindings below name every member: a new member stops this test from compiling
// until it is listed, and then fails until the table has it.
TEST(ConfigTable, EveryMemberOfTheStructsIsReachable) {
  const RunConfig changed = all_changed(Stage::kJoint);
  const RunConfig tuned = all_changed(Stage::kTune);
  const RunConfig fresh = default_run_config(Stage::kJoint);
  const auto& [stage, model, data, objective, trainer, output, logging, parallel] = changed;
  EXPECT_EQ(stage, Stage::kJoint);
  {
    const auto& [base, init_from, adapters, compression_rate, doc_max_tokens, lora, memory_init,
                 dtype, device, chat_format] = model;
    EXPECT_NE(base, fresh.model.base);
    EXPECT_NE(init_from, fresh.model.init_from);
    EXPECT_NE(compression_rate, fresh.model.compression_rate);
    EXPECT_NE(doc_max_tokens, fresh.model.doc_max_tokens);
    EXPECT_NE(memory_init, fresh.model.memory_init);
    EXPECT_NE(dtype, fresh.model.dtype);
    EXPECT_NE(device, fresh.model.device);
    EXPECT_NE(chat_format, fresh.model.chat_format);
    const auto& [compressor, query_reasoner, generator] = adapters;
    EXPECT_NE(compressor, fresh.model.adapters.compressor);
    EXPECT_NE(query_reasoner, fresh.model.adapters.query_reasoner);
    EXPECT_NE(generator, fresh.model.adapters.generator);
    const auto& [rank, alpha, dropout, target_modules] = lora;
    EXPECT_NE(rank, fresh.model.lora.rank);
    EXPECT_NE(alpha, fresh.model.lora.alpha);
    EXPECT_NE(dropout, fresh.model.lora.dropout);
    EXPECT_NE(target_modules, fresh.model.lora.target_modules);
  }
  {
    const auto& [train, validation, max_rows, shuffle_seed, document_format, on_bad_record] = data;
    ASSERT_EQ(train.size(), 1U);
    ASSERT_EQ(validation.size(), 1U);
    for (const DataSource& source : {train[0], validation[0]}) {
      const auto& [path, weight, source_max_rows] = source;
      EXPECT_NE(path, DataSource{}.path);
      EXPECT_NE(weight, DataSource{}.weight);
      EXPECT_NE(source_max_rows, DataSource{}.max_rows);
    }
    EXPECT_NE(max_rows, fresh.data.max_rows);
    EXPECT_NE(shuffle_seed, fresh.data.shuffle_seed);
    EXPECT_NE(document_format, fresh.data.document_format);
    EXPECT_NE(on_bad_record, fresh.data.on_bad_record);
  }
  {
    const auto& [alignment_weight, latent_token_loss, generator_init, context, num_selected,
                 temperature, topk_mask, query_reasoner_init, latent_cache, latent_cache_folder] =
        objective;
    EXPECT_EQ(alignment_weight, fresh.objective.alignment_weight);
    EXPECT_NE(tuned.objective.alignment_weight, fresh.objective.alignment_weight);
    EXPECT_EQ(generator_init, fresh.objective.generator_init);
    EXPECT_NE(tuned.objective.generator_init, fresh.objective.generator_init);
    EXPECT_EQ(context, "latents");
    EXPECT_EQ(parse(minimal_config("tune"), {"objective.context=none"}).objective.context, "none");
    EXPECT_EQ(latent_token_loss.steps, 0);
    const auto& [weight, steps, only_steps, target, token_weights] =
        tuned.objective.latent_token_loss;
    EXPECT_NE(weight, 0);
    EXPECT_NE(steps, 0);
    EXPECT_NE(only_steps, 0);
    EXPECT_NE(target, latent_token_loss.target);
    EXPECT_NE(token_weights, latent_token_loss.token_weights);
    EXPECT_NE(num_selected, fresh.objective.num_selected);
    EXPECT_NE(temperature, fresh.objective.temperature);
    EXPECT_NE(topk_mask, fresh.objective.topk_mask);
    EXPECT_NE(query_reasoner_init, fresh.objective.query_reasoner_init);
    EXPECT_NE(latent_cache, fresh.objective.latent_cache);
    EXPECT_NE(latent_cache_folder, fresh.objective.latent_cache_folder);
  }
  {
    const auto& [rows_per_step, rows_per_micro_batch, max_tokens_per_micro_batch, num_epochs,
                 max_steps, peak_learning_rate, memory_learning_rate_ratio, schedule, adam_betas,
                 weight_decay, warmup_ratio, min_learning_rate_ratio, max_gradient_norm,
                 max_sequence_tokens, activation_checkpointing, validate_every_steps,
                 max_validation_rows, seed, num_threads] = trainer;
    EXPECT_NE(rows_per_step, fresh.trainer.rows_per_step);
    EXPECT_NE(rows_per_micro_batch, fresh.trainer.rows_per_micro_batch);
    EXPECT_NE(max_tokens_per_micro_batch, fresh.trainer.max_tokens_per_micro_batch);
    EXPECT_NE(num_epochs, fresh.trainer.num_epochs);
    EXPECT_NE(max_steps, fresh.trainer.max_steps);
    EXPECT_NE(peak_learning_rate, fresh.trainer.peak_learning_rate);
    EXPECT_NE(memory_learning_rate_ratio, fresh.trainer.memory_learning_rate_ratio);
    EXPECT_NE(schedule, fresh.trainer.schedule);
    EXPECT_NE(adam_betas, fresh.trainer.adam_betas);
    EXPECT_NE(weight_decay, fresh.trainer.weight_decay);
    EXPECT_NE(warmup_ratio, fresh.trainer.warmup_ratio);
    EXPECT_NE(min_learning_rate_ratio, fresh.trainer.min_learning_rate_ratio);
    EXPECT_NE(max_gradient_norm, fresh.trainer.max_gradient_norm);
    EXPECT_NE(max_sequence_tokens, fresh.trainer.max_sequence_tokens);
    EXPECT_NE(activation_checkpointing, fresh.trainer.activation_checkpointing);
    EXPECT_NE(validate_every_steps, fresh.trainer.validate_every_steps);
    EXPECT_NE(max_validation_rows, fresh.trainer.max_validation_rows);
    EXPECT_NE(seed, fresh.trainer.seed);
    EXPECT_NE(num_threads, fresh.trainer.num_threads);
  }
  {
    const auto& [folder, save_every_steps, keep_last, keep_best, on_save_error] = output;
    EXPECT_NE(on_save_error, fresh.output.on_save_error);
    EXPECT_NE(folder, fresh.output.folder);
    EXPECT_NE(save_every_steps, fresh.output.save_every_steps);
    EXPECT_NE(keep_last, fresh.output.keep_last);
    ASSERT_TRUE(keep_best);
    const auto& [metric, mode] = *keep_best;
    EXPECT_EQ(metric, "validation/loss");
    EXPECT_EQ(mode, "min");
  }
  {
    const auto& [every_steps, tensorboard] = logging;
    EXPECT_NE(every_steps, fresh.logging.every_steps);
    EXPECT_NE(tensorboard, fresh.logging.tensorboard);
  }
  {
    const auto& [timeout_seconds, bucket_megabytes] = parallel;
    EXPECT_NE(timeout_seconds, fresh.parallel.timeout_seconds);
    EXPECT_NE(bucket_megabytes, fresh.parallel.bucket_megabytes);
  }
}

TEST(ConfigTable, TheReferencePageShowsTypesDefaultsAndStages) {
  const std::string page = describe_run_config();
  EXPECT_NE(page.find("## trainer\n"), std::string::npos);
  EXPECT_NE(page.find("| `trainer.rows_per_step` | integer >= 1 | `128`; joint and retriever: `32` "
                      "| all | "),
            std::string::npos)
      << page;
  EXPECT_NE(page.find("| `trainer.rows_per_micro_batch` | auto or integer >= 1 | `auto` | all | "),
            std::string::npos);
  EXPECT_NE(page.find("| `objective.temperature` | number > 0 | `0.02` | joint and retriever | "),
            std::string::npos);
  EXPECT_NE(page.find("| `model.base` | string | required | all | "), std::string::npos);
  EXPECT_NE(page.find("| `data.train.<index>.weight` | number > 0 | `1.0` | all | "),
            std::string::npos);
  EXPECT_NE(page.find("| `output.keep_best` | {metric, mode} or null | `null` | all | "),
            std::string::npos);
}

TEST(ConfigTable, StageNamesAreTheWordsOfTheFiles) {
  for (Stage stage : kStages) {
    EXPECT_EQ(parse(minimal_config(to_string(stage))).stage, stage);
  }
  EXPECT_EQ(to_string(Dtype::kBfloat16), "bfloat16");
  EXPECT_EQ(to_string(Device::kCuda), "cuda");
}

}  // namespace
}  // namespace clara::test
