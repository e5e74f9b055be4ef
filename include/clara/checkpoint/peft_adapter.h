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

/// Whether `folder` holds an adapter_config.json.
bool is_peft_folder(const std::filesystem::path& folder);

/// Settings that adapter_config.json states; rsLoRA's scale becomes the alpha that gives it.
/// `target_modules` is filled from a list alone: a pattern, or "all-linear", leaves it empty.
/// Throws CheckpointError that names the key for what is not plain LoRA on linear layers (DoRA,
/// biases, modules_to_save, layers_to_transform, ranks by layer, fan_in_fan_out, starts that change
/// the base's weights, …).
LoraSettings read_peft_settings(const std::filesystem::path& folder);

/// An adapter with the settings and values of `folder`, float32 on `device`: of any rank and any
/// choice of layers, in float32, bfloat16 or float16, in adapter_model.safetensors or
/// adapter_model.bin, its tensors named with or without an adapter's name. Which layers are adapted
/// follows from the tensors; where target_modules is a list or "all-linear" every layer it names
/// must have them. Throws CheckpointError that names key or tensor.
LoraAdapter read_peft_adapter(const std::filesystem::path& folder, const BaseConfig& base,
                              torch::Device device);

/// Fills `adapter` from `folder`; every tensor must fit. Throws CheckpointError that names tensor
/// and shapes.
void load_peft_adapter(const std::filesystem::path& folder, LoraAdapter& adapter);

}  // namespace clara
