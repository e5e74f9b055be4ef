// adapter_config.json and adapter_model.safetensors.
#include "clara/checkpoint/peft_adapter.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "checkpoint/lora_tensors.h"
#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/common/torch_file.h"

namespace clara {
namespace {

using Json = nlohmann::json;

Json read_json_object(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path)) throw CheckpointError(path.string() + ": not found");
  Json json = parse_json<Json>(read_file(path));
  if (!json.is_object())
    throw CheckpointError(path.string() + ": expected a JSON object; the file is damaged");
  return json;
}

bool is_absent(const Json& config, const char* key) {
  if (!config.contains(key)) return true;
  const Json& value = config[key];
  return value.is_null() || value == false || value == "" ||
         (value.is_structured() && value.empty());
}

/// Keys of adapter_config.json that must be null, false or empty, and why.
struct RefusedKey {
  const char* key;
  const char* reason;
};
constexpr RefusedKey kRefusedKeys[] = {
    {"use_dora", "DoRA is not supported"},
    {"use_qalora", "QA-LoRA is not supported"},
    {"lora_bias", "biases of the matrices are not supported"},
    {"fan_in_fan_out", "transposed weights are not supported"},
    {"modules_to_save", "trained copies of whole modules are not supported"},
    {"trainable_token_indices", "trained rows of the embedding are not supported"},
    {"layers_to_transform", "is not supported; name the layers in target_modules"},
    {"layers_pattern", "is not supported; name the layers in target_modules"},
    {"layer_replication", "blocks that are used twice are not supported"},
    {"rank_pattern", "ranks that differ by layer are not supported"},
    {"alpha_pattern", "scales that differ by layer are not supported"},
    {"target_parameters", "adapters of parameters that are no linear layers are not supported"},
    {"megatron_config", "layers of Megatron are not supported"},
};

/// Ways to start an adapter that change the weights of the base as well.
constexpr const char* kBaseChangingStarts[] = {"pissa", "olora", "corda", "loftq"};

LoraTensors read_lora_tensors(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_model.safetensors";
  const std::filesystem::path pickled = folder / "adapter_model.bin";
  if (!std::filesystem::exists(path) && std::filesystem::exists(pickled)) {
    const TorchFile file(pickled);
    if (file.groups().size() != 1 || !file.groups()[0].name.empty())
      throw CheckpointError(pickled.string() + ": expected a dict of tensors, found dicts in it");
    return {pickled.string() + ": ", file.groups()[0].tensors, file.mapping()};
  }
  if (!std::filesystem::exists(path))
    throw CheckpointError(path.string() + ": not found (nor adapter_model.bin)");
  const SafetensorsFile file(path);
  return {path.string() + ": ", file.tensors(), file.mapping()};
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
  if (config.value("peft_type", Json()) != "LORA")
    fail("peft_type", "expected LORA, found " + config.value("peft_type", Json()).dump());
  for (const RefusedKey& refused : kRefusedKeys) {
    if (!is_absent(config, refused.key)) fail(refused.key, refused.reason);
  }
  if (config.contains("bias") && config["bias"] != "none")
    fail("bias", "expected none, found " + config["bias"].dump());
  if (const Json start = config.value("init_lora_weights", Json()); start.is_string()) {
    for (const char* name : kBaseChangingStarts) {
      if (start.get<std::string>().starts_with(name))
        fail("init_lora_weights", start.dump() +
                                      " changes the weights of the base, which are not in this "
                                      "folder; convert the adapter to plain LoRA with PEFT");
    }
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
  const Json targets = config.value("target_modules", Json());
  if (targets.is_array()) {
    const bool is_texts =
        !targets.empty() &&
        std::all_of(targets.begin(), targets.end(), [](const Json& t) { return t.is_string(); });
    if (!is_texts) fail("target_modules", "expected names of layers, found " + targets.dump());
    settings.target_modules = targets.get<std::vector<std::string>>();
  } else if (!targets.is_null() && !targets.is_string()) {
    fail("target_modules", "expected names of layers or a pattern, found " + targets.dump());
  }
  return settings;
}

bool is_peft_folder(const std::filesystem::path& folder) {
  return !folder.empty() && std::filesystem::exists(folder / "adapter_config.json");
}

LoraAdapter read_peft_adapter(const std::filesystem::path& folder, const BaseConfig& base,
                              torch::Device device) {
  LoraSettings settings = read_peft_settings(folder);
  const Json config = read_json_object(folder / "adapter_config.json");
  const Json targets = config.value("target_modules", Json());
  std::optional<std::vector<std::string>> required;
  // Names that are none of the blocks' layers matter only if the file has tensors for them.
  const bool is_whole = is_absent(config, "exclude_modules");
  if (targets.is_array() && is_whole) required = settings.target_modules;
  if (targets == "all-linear" && is_whole) required.emplace();
  return adapter_from_tensors(read_lora_tensors(folder), base, std::move(settings), required,
                              device);
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
