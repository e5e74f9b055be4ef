// Whether a run's longest sequences fit the base model.
#pragma once

#include "clara/config/run_config.h"
#include "clara/model/base_config.h"

namespace clara {

/// Documents and questions have at most doc_max_tokens + 3 + M tokens, prompts with their answers
/// max_sequence_tokens. Throws ConfigError that names model.doc_max_tokens or
/// trainer.max_sequence_tokens where that is more than the base model's positions or its sliding
/// window (numerics §8).
void check_sequence_limits(const RunConfig& config, const BaseConfig& base);

}  // namespace clara
