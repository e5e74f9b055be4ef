// adapter_config.json and adapter_model.safetensors.
#include "clara/checkpoint/peft_adapter.h"

#include <set>

#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

using Json = nlohmann::json;

Json read_json_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw CheckpointError(path.string() + ": not found");
  Json json = Json::parse(read_file(path), nullptr, false);
  if (!json.is_object())
    throw CheckpointError(path.string() + ": expected a JSON object; the file is damaged");
  return json;
}

}  // namespace

std::string peft_config_text(const LoraAdapter& adapter, const std::string& base_model) {
  const LoraSettings& settings = adapter.settings();
  const Json config = {
      {"peft_type", "LORA"},
      {"task_type", "CAUSAL_LM"},
      {"base_model_name_or_path", base_model},
      {"r", settings.rank},
      {"lora_alpha", settings.alpha},
      {"lora_dropout", settings.dropout},
      {"target_modules", adapter.target_module_names()},
      {"bias", "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"use_rslora", false},
      {"use_dora", false},
      {"modules_to_save", nullptr},
      {"layers_to_transform", nullptr},
      {"layers_pattern", nullptr},
      {"rank_pattern", Json::object()},
      {"alpha_pattern", Json::object()},
      {"revision", nullptr},
      {"auto_mapping", nullptr},
  };
  return config.dump(2) + "\n";
}

void save_peft_adapter(const std::filesystem::path& folder, const LoraAdapter& adapter,
                       const std::string& base_model) {
  std::filesystem::create_directories(folder);
  write_file_atomically(folder / kPeftConfigName, peft_config_text(adapter, base_model));
  std::map<std::string, torch::Tensor> tensors;
  for (const NamedTensor& named : adapter.named_tensors())
    tensors.emplace(named.name, named.tensor);
  save_tensors(folder / kPeftTensorsName, tensors, kPeftMetadata);
}

LoraSettings read_peft_settings(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / kPeftConfigName;
  const Json config = read_json_object(path);
  const auto fail = [&](const std::string& key, const std::string& message) {
    throw CheckpointError(path.string() + ": " + key + ": " + message);
  };
  if (config.value("peft_type", "") != "LORA")
    fail("peft_type", "expected LORA, found " + config.value("peft_type", Json()).dump());
  for (const char* key : {"use_dora", "fan_in_fan_out"}) {
    if (config.contains(key) && config[key] == true) fail(key, "is not supported");
  }
  if (config.contains("bias") && config["bias"] != "none")
    fail("bias", "expected none, found " + config["bias"].dump());
  for (const char* key : {"rank_pattern", "alpha_pattern"}) {
    if (config.contains(key) && !config[key].empty())
      fail(key, "ranks that differ by layer are not supported");
  }
  LoraSettings settings;
  if (!config.contains("r") || !config["r"].is_number_integer() ||
      config["r"].get<std::int64_t>() < 1) {
    fail("r", "expected a positive integer");
  }
  settings.rank = config["r"].get<std::int64_t>();
  if (!config.contains("lora_alpha") || !config["lora_alpha"].is_number())
    fail("lora_alpha", "expected a number");
  settings.alpha = config["lora_alpha"].get<double>();
  if (config.contains("use_rslora") && config["use_rslora"] == true) {
    // rsLoRA scales by α/√R; the same update as an ordinary adapter with α·√R.
    settings.alpha *= std::sqrt(static_cast<double>(settings.rank));
  }
  settings.dropout = config.contains("lora_dropout") && config["lora_dropout"].is_number()
                         ? config["lora_dropout"].get<double>()
                         : 0.0;
  if (config.contains("target_modules") && config["target_modules"].is_array()) {
    settings.target_modules = config["target_modules"].get<std::vector<std::string>>();
  }
  return settings;
}

void load_peft_adapter(const std::filesystem::path& folder, LoraAdapter& adapter) {
  const std::filesystem::path path = folder / kPeftTensorsName;
  if (!std::filesystem::exists(path)) throw CheckpointError(path.string() + ": not found");
  const torch::NoGradGuard no_grad;
  const SafetensorsFile file(path);
  std::set<std::string> known;
  for (const NamedTensor& named : adapter.named_tensors()) {
    known.insert(named.name);
    const TensorEntry* entry = file.find(named.name);
    if (entry == nullptr)
      throw CheckpointError(path.string() + ": tensor " + named.name + ": missing");
    if (entry->shape != named.tensor.sizes().vec()) {
      throw CheckpointError(path.string() + ": tensor " + named.name + ": expected " +
                            shape_string(named.tensor.sizes().vec()) + ", found " +
                            shape_string(entry->shape));
    }
    named.tensor.detach().copy_(map_tensor(*entry, file.mapping()));
  }
  for (const TensorEntry& entry : file.tensors()) {
    if (!known.contains(entry.name)) {
      throw CheckpointError(path.string() + ": tensor " + entry.name +
                            ": has no place in this model's adapter");
    }
  }
}

}  // namespace clara
