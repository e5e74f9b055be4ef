// The known formats, as a table.
#include "tokenizer/format_text.h"

#include <algorithm>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr TurnTrim kBoth = TurnTrim::kBoth;

// What each template prints for the turns system, user, assistant (with enable_thinking=False, and
// the date that it falls back to where it knows no other). Default system prompts do not matter:
// the first turn is always a system turn, or there is no such role.
constexpr FormatText kFormats[] = {
    {.name = "chatml",
     .system_before = "<|im_start|>system\n",
     .system_after = "<|im_end|>\n",
     .user_before = "<|im_start|>user\n",
     .user_after = "<|im_end|>\n",
     .generation_prompt = "<|im_start|>assistant\n",
     .assistant_before = "<|im_start|>assistant\n",
     .assistant_after = "<|im_end|>\n",
     .control = {"<|im_start|>", "<|im_end|>"}},
    {.name = "qwen3",
     .system_before = "<|im_start|>system\n",
     .system_after = "<|im_end|>\n",
     .user_before = "<|im_start|>user\n",
     .user_after = "<|im_end|>\n",
     .generation_prompt = "<|im_start|>assistant\n<think>\n\n</think>\n\n",
     .assistant_before = "<|im_start|>assistant\n<think>\n\n</think>\n\n",
     .assistant_after = "<|im_end|>\n",
     .control = {"<|im_start|>", "<|im_end|>"},
     .optional_control = {"<think>", "</think>"}},
    {.name = "llama3",
     .trim_system = kBoth,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .prints_bos = true,
     .system_before = "<|start_header_id|>system<|end_header_id|>\n\n",
     .system_after = "<|eot_id|>",
     .user_before = "<|start_header_id|>user<|end_header_id|>\n\n",
     .user_after = "<|eot_id|>",
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_before = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_after = "<|eot_id|>",
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {.name = "llama3_dated",
     .trim_system = kBoth,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .prints_bos = true,
     .system_before =
         "<|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December "
         "2023\nToday Date: 26 Jul 2024\n\n",
     .system_after = "<|eot_id|>",
     .user_before = "<|start_header_id|>user<|end_header_id|>\n\n",
     .user_after = "<|eot_id|>",
     .generation_prompt = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_before = "<|start_header_id|>assistant<|end_header_id|>\n\n",
     .assistant_after = "<|eot_id|>",
     .control = {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {.name = "llama2",  // the template strips system and user turn together
     .trim_user = TurnTrim::kRight,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .system_before = "[INST] <<SYS>>\n",
     .system_after = "\n<</SYS>>\n\n",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = " {eos}"},
    {.name = "mistral_inst",
     .system_role = false,
     .prints_bos = true,
     .user_before = "[INST] ",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "mistral_inst_close",  // the answer follows [/INST] without a blank
     .system_role = false,
     .prints_bos = true,
     .user_before = "[INST] ",
     .user_after = " [/INST]",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "mistral_inst_system",  // the system text opens the user turn
     .prints_bos = true,
     .system_before = " [INST] ",
     .system_after = "\n\n",
     .user_after = " [/INST]",
     .assistant_before = " ",
     .assistant_after = "{eos}",
     .optional_control = {"[INST]", "[/INST]"}},
    {.name = "phi3",
     .system_before = "<|system|>\n",
     .system_after = "<|end|>\n",
     .user_before = "<|user|>\n",
     .user_after = "<|end|>\n",
     .generation_prompt = "<|assistant|>\n",
     .assistant_before = "<|assistant|>\n",
     .assistant_after = "<|end|>\n{eos}",
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}},
    {.name = "phi4",
     .system_before = "<|im_start|>system<|im_sep|>",
     .system_after = "<|im_end|>",
     .user_before = "<|im_start|>user<|im_sep|>",
     .user_after = "<|im_end|>",
     .generation_prompt = "<|im_start|>assistant<|im_sep|>",
     .assistant_before = "<|im_start|>assistant<|im_sep|>",
     .assistant_after = "<|im_end|>",
     .control = {"<|im_start|>", "<|im_sep|>", "<|im_end|>"}},
    {.name = "phi4mini",
     .system_before = "<|system|>",
     .system_after = "<|end|>",
     .user_before = "<|user|>",
     .user_after = "<|end|>",
     .generation_prompt = "<|assistant|>",
     .assistant_before = "<|assistant|>",
     .assistant_after = "<|end|>{eos}",
     .control = {"<|system|>", "<|user|>", "<|assistant|>", "<|end|>"}},
    {.name = "gemma",
     .system_role = false,
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .user_before = "<start_of_turn>user\n",
     .user_after = "<end_of_turn>\n",
     .generation_prompt = "<start_of_turn>model\n",
     .assistant_before = "<start_of_turn>model\n",
     .assistant_after = "<end_of_turn>\n",
     .control = {"<start_of_turn>", "<end_of_turn>"}},
    {.name = "gemma3",  // the system text opens the user turn
     .trim_user = kBoth,
     .trim_answer = kBoth,
     .always_trims = true,
     .prints_bos = true,
     .system_before = "<start_of_turn>user\n",
     .system_after = "\n\n",
     .user_after = "<end_of_turn>\n",
     .generation_prompt = "<start_of_turn>model\n",
     .assistant_before = "<start_of_turn>model\n",
     .assistant_after = "<end_of_turn>\n",
     .control = {"<start_of_turn>", "<end_of_turn>"}},
};

std::string joined_names() {
  std::string names;
  for (const FormatText& format : kFormats) {
    names += (names.empty() ? "" : ", ") + std::string(format.name);
  }
  return names;
}

}  // namespace

std::span<const FormatText> known_format_texts() { return kFormats; }

const FormatText& find_format_text(std::string_view name) {
  const auto* it = std::find_if(std::begin(kFormats), std::end(kFormats),
                                [&](const FormatText& format) { return format.name == name; });
  if (it == std::end(kFormats)) {
    throw ConfigError("model.chat_format: expected one of " + joined_names() +
                      ", or a .json file that describes a format, found \"" + std::string(name) +
                      "\"");
  }
  return *it;
}

std::string how_to_name_a_chat_format() {
  return "; set model.chat_format to one of " + joined_names() +
         ", or to a .json file that describes the format (interface.md, \"Chat formats\")";
}

}  // namespace clara
