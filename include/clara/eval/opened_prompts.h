// Prompts for a model as it was trained, and which of its adapters reads questions.
#pragma once

#include <cstdint>

#include "clara/checkpoint/open_model.h"
#include "clara/data/prompts.h"

namespace clara {

/// With the tokenizer, chat format, document length and memory tokens of `opened`, which must
/// outlive the builder.
PromptBuilder make_prompt_builder(const OpenedModel& opened, std::int32_t num_selected,
                                  std::uint64_t seed);

/// The adapter that reads questions to rank documents: the query reasoner once joint or retriever
/// training has made one; before that the compressor, which it will start from.
AdapterRole question_reader(const ModelDescription& description);

}  // namespace clara
