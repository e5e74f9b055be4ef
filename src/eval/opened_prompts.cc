// The settings of a checkpoint's description.
#include "clara/eval/opened_prompts.h"

#include <algorithm>

namespace clara {

PromptBuilder make_prompt_builder(const OpenedModel& opened, std::int32_t num_selected,
                                  std::uint64_t seed) {
  PromptSettings settings;
  settings.doc_max_tokens = opened.description.doc_max_tokens;
  settings.num_selected = num_selected;
  settings.seed = seed;
  settings.max_sequence_tokens = static_cast<std::int32_t>(std::min<std::int64_t>(
      settings.max_sequence_tokens, opened.model->base().config().longest_sequence()));
  return {*opened.text.tokenizer, opened.text.chat_format, opened.text.special_tokens,
          opened.text.bos_id,     opened.text.eos_id,      settings};
}

}  // namespace clara
