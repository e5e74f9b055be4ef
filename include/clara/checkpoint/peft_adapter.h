// LoRA adapters in the layout of Hugging Face PEFT.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "clara/model/lora.h"

namespace clara {

/// Names of PEFT's two files, and what it expects in the second one's header.
inline constexpr const char* kPeftConfigName = "adapter_config.json";
inline constexpr const char* kPeftTensorsName = "adapter_model.safetensors";
inline const std::map<std::string, std::string> kPeftMetadata = {{"format", "pt"}};

/// The text of adapter_config.json.
std::string peft_config_text(const LoraAdapter& adapter, const std::string& base_model);

/// Writes adapter_config.json and adapter_model.safetensors into `folder` (created), loadable by
/// peft.PeftModel.from_pretrained on the base model, unchanged. float32.
void save_peft_adapter(const std::filesystem::path& folder, const LoraAdapter& adapter,
                       const std::string& base_model);

/// Settings that adapter_config.json states. Throws CheckpointError for what is not plain LoRA
/// (DoRA, biases, …).
LoraSettings read_peft_settings(const std::filesystem::path& folder);

/// Fills `adapter` from `folder`; every tensor must fit. Throws CheckpointError that names tensor
/// and shapes.
void load_peft_adapter(const std::filesystem::path& folder, LoraAdapter& adapter);

}  // namespace clara
