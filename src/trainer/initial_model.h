// The model that a stage starts from: base, adapters and memory rows.
#pragma once

#include <cstdint>
#include <memory>

#include "clara/checkpoint/open_model.h"
#include "clara/config/run_config.h"
#include "clara/model/clara_model.h"
#include "clara/trainer/train_loop.h"

namespace clara {

/// Whether a stage reads documents through a compressor that it does not train.
bool uses_frozen_documents(Stage stage);

LoraSettings lora_settings(const LoraConfig& config);

/// What the adapters start from can be opened: told before any weight is read.
void check_initial_adapters(const RunConfig& config);

/// Loads the base and fills the adapters as model.init_from, model.adapters and the stage's
/// objective say. `local_rank`: which CUDA device of the node. Throws ConfigError, DataError,
/// CheckpointError.
std::unique_ptr<ClaraModel> make_model(const RunConfig& config, const Tokenizer& tokenizer,
                                       std::int64_t local_rank, TrainObserver& observer);

}  // namespace clara
