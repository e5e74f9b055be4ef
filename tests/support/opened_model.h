// A small random model with a real tokenizer: the base of a parity fixture, fresh adapters.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include <torch/torch.h>

#include "clara/checkpoint/open_model.h"

namespace clara::testing {

inline OpenedModel random_opened_model(std::int32_t num_memory, std::int32_t doc_max_tokens = 16) {
  torch::set_num_threads(1);  // threads that share such small tensors only wait for each other
  const std::filesystem::path base =
      std::filesystem::path(CLARA_SOURCE_DIR) / "tests/fixtures/parity/llama/base";
  OpenedModel opened;
  opened.text = open_text_side(base, num_memory);
  opened.model = std::make_unique<ClaraModel>(load_base_llm(base, torch::kFloat32, torch::kCPU),
                                              LoraSettings{}, num_memory, "noise", 17);
  opened.description.stage = "joint";
  opened.description.step = 3;
  opened.description.doc_max_tokens = doc_max_tokens;
  opened.description.compression_rate = doc_max_tokens / num_memory;
  opened.description.num_memory_tokens = num_memory;
  return opened;
}

}  // namespace clara::testing
