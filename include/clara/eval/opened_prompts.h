// Prompts for a model as it was trained.
#pragma once

#include <cstdint>

#include "clara/checkpoint/open_model.h"
#include "clara/data/prompts.h"

namespace clara {

/// With the tokenizer, chat format, document length and memory tokens of `opened`, which must
/// outlive the builder.
PromptBuilder make_prompt_builder(const OpenedModel& opened, std::int32_t num_selected,
                                  std::uint64_t seed);

}  // namespace clara
