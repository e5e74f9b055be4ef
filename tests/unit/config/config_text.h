// Small configs that the config tests start from.
#pragma once

#include <string>
#include <vector>

#include "clara/common/error.h"
#include "clara/config/load_config.h"

namespace clara::test {

/// The smallest valid file of a stage: six lines.
inline std::string minimal_config(const std::string& stage) {
  return "stage: " + stage +
         "\n"
         "model:\n"
         "  base: models/base\n"
         "data:\n"
         "  train: [train.jsonl]\n"
         "output: {folder: runs/a}\n";
}

/// The joint example with every section written out.
inline std::string full_joint_config() {
  return R"(stage: joint
model:
  base: models/smollm2-135m
  init_from: runs/scp/final
  compression_rate: 16
  doc_max_tokens: 256
  lora: {rank: 16, alpha: 32, dropout: 0.1}
  dtype: auto
  device: auto
data:
  train:
    - {path: data/joint_train.jsonl, weight: 1.0}
    - data/more.jsonl
  validation: [data/joint_valid.jsonl]
  max_rows: 0
  shuffle_seed: 17
  document_format: title_newline
objective:
  num_selected: 5
  temperature: 0.02
  topk_mask: leaky
  query_reasoner_init: compressor
  latent_cache: auto
trainer:
  rows_per_step: 32
  rows_per_micro_batch: auto
  max_tokens_per_micro_batch: 8192
  num_epochs: 1
  peak_learning_rate: 5.0e-6
  schedule: cosine
  adam_betas: [0.9, 0.95]
  max_sequence_tokens: 1024
  min_learning_rate_ratio: 0.1
  warmup_ratio: 0.03
  max_gradient_norm: 1.0
  activation_checkpointing: false
  validate_every_steps: 50
  seed: 17
output:
  folder: runs/joint
  save_every_steps: 100
  keep_last: 3
  keep_best: {metric: validation/recall@5, mode: max}
logging: {every_steps: 1, tensorboard: true}
)";
}

/// The message of the ConfigError that the text gives, "" where it loads.
inline std::string error_of(const std::string& text, const ConfigOverrides& overrides = {}) {
  try {
    parse_run_config(text, "run.yaml", overrides);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

/// The same for the minimal config of a stage with assignments.
inline std::string error_of_set(const std::string& stage,
                                const std::vector<std::string>& assignments) {
  return error_of(minimal_config(stage), {.stage = {}, .assignments = assignments});
}

inline RunConfig parse(const std::string& text, const std::vector<std::string>& assignments = {}) {
  return parse_run_config(text, "run.yaml", {.stage = {}, .assignments = assignments});
}

}  // namespace clara::test
