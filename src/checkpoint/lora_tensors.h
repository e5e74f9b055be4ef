// LoRA tensors of a file, under any of the names that PEFT and transformers give them → an adapter.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/common/safetensors_file.h"
#include "clara/model/lora.h"

namespace clara {

struct LoraTensors {
  std::string place;                    ///< begins messages: "adapter_model.safetensors: "
  std::vector<TensorEntry> tensors;     ///< of one adapter
  std::shared_ptr<const void> mapping;  ///< keeps them alive
};

/// "model.layers.0.self_attn.q_proj.lora_A.weight" of a name that may begin with PEFT's
/// "base_model.model." (or lack "model.") and may carry the adapter's name before ".weight"; empty
/// if it is no LoRA matrix.
std::optional<std::string> plain_lora_name(const std::string& name);

/// An adapter that has a pair wherever the file has one; its values are converted to float32.
/// `settings.target_modules` is not read. `required` (empty: all linear layers) names the layers
/// that must have their pair and beside which none may stand; without it the file alone decides.
/// Throws CheckpointError that names the tensor: it is missing, has no place, does not fit the base
/// or the rank, is no float, or stands there for two adapters.
LoraAdapter adapter_from_tensors(const LoraTensors& source, const BaseConfig& base,
                                 LoraSettings settings,
                                 const std::optional<std::vector<std::string>>& required,
                                 torch::Device device);

}  // namespace clara
