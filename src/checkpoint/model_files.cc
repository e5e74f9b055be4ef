// Adapters, added rows and clara.json.
#include "clara/checkpoint/model_files.h"

#include <algorithm>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

using Json = nlohmann::json;

constexpr std::int32_t kFormatVersion = 1;
constexpr const char* kMemoryRowsName = "memory_tokens.safetensors";

Json describe(const ModelDescription& d) {
  Json json = {
      {"format_version", kFormatVersion},
      {"base", d.base},
      {"stage", d.stage},
      {"step", d.step},
      {"doc_max_tokens", d.doc_max_tokens},
      {"compression_rate", d.compression_rate},
      {"num_memory_tokens", d.num_memory_tokens},
      {"num_selected", d.num_selected},
      {"document_format", d.document_format},
      {"chat_format", d.chat_format},
      {"lora",
       {{"rank", d.lora.rank},
        {"alpha", d.lora.alpha},
        {"dropout", d.lora.dropout},
        {"target_modules", d.lora.target_modules}}},
      {"library_version", d.library_version},
  };
  if (d.adapters != ModelDescription().adapters) json["adapters"] = d.adapters;
  if (d.context != ModelDescription().context) json["context"] = d.context;
  return json;
}

void load_rows(const SafetensorsFile& file, const std::string& name, torch::Tensor& rows) {
  const TensorEntry* entry = file.find(name);
  if (entry == nullptr)
    throw CheckpointError(file.path().string() + ": tensor " + name + ": missing");
  if (entry->shape != rows.sizes().vec()) {
    throw CheckpointError(
        file.path().string() + ": tensor " + name + ": expected " +
        shape_string(rows.sizes().vec()) + ", found " + shape_string(entry->shape) +
        " (another compression rate, or another base model than the checkpoint's)");
  }
  rows.detach().copy_(map_tensor(*entry, file.mapping()));
}

/// One row for all the memory tokens that clara.json counts.
bool has_shared_row(const SafetensorsFile& file, const ModelDescription& description) {
  const TensorEntry* rows = file.find("memory_rows");
  return rows != nullptr && rows->shape.size() == 2 && rows->shape[0] == 1 &&
         description.num_memory_tokens > 1;
}

}  // namespace

bool ModelDescription::holds(AdapterRole role) const {
  return std::find(adapters.begin(), adapters.end(), adapter_name(role)) != adapters.end();
}

ModelFiles convert_model_files(ModelFiles files, torch::Dtype dtype) {
  for (auto& [path, file] : files.tensors) {
    for (auto& [name, tensor] : file.tensors) tensor = tensor.detach().to(dtype);
  }
  return files;
}

ModelFiles describe_model_files(const ClaraModel& model, const ModelDescription& description) {
  ModelFiles files;
  for (AdapterRole role : kAdapterRoles) {
    if (!description.holds(role)) continue;
    const std::string folder = "adapters/" + adapter_name(role) + "/";
    const LoraAdapter& adapter = model.adapter(role);
    files.texts[folder + kPeftConfigName] = peft_config_text(adapter, description.base);
    TensorFileContent& file = files.tensors[folder + kPeftTensorsName];
    file.metadata = kPeftMetadata;
    for (const NamedTensor& named : adapter.named_tensors())
      file.tensors.emplace(named.name, named.tensor);
  }
  std::map<std::string, torch::Tensor>& rows = files.tensors[kMemoryRowsName].tensors;
  rows = {{"memory_rows", model.memory().memory_rows}, {"fixed_rows", model.memory().fixed_rows}};
  if (model.memory().head_rows.defined()) rows.emplace("head_rows", model.memory().head_rows);
  files.texts["clara.json"] = describe(description).dump(2) + "\n";
  return files;
}

void write_model_files(const std::filesystem::path& folder, const ModelFiles& files) {
  for (const auto& [path, file] : files.tensors) {
    std::filesystem::create_directories((folder / path).parent_path());
    save_tensors(folder / path, file.tensors, file.metadata);
  }
  for (const auto& [path, text] : files.texts) {
    std::filesystem::create_directories((folder / path).parent_path());
    write_file_atomically(folder / path, text);
  }
}

void save_model_files(const std::filesystem::path& folder, const ClaraModel& model,
                      const ModelDescription& description) {
  write_model_files(folder, describe_model_files(model, description));
}

ModelDescription read_model_description(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "clara.json";
  if (!std::filesystem::exists(path)) {
    throw CheckpointError(
        folder.string() +
        ": expected a CLaRa checkpoint or final/ folder, found no clara.json in it");
  }
  const Json json = parse_json<Json>(read_file(path));
  if (!json.is_object())
    throw CheckpointError(path.string() + ": expected a JSON object; the file is damaged");
  const auto read_whole = [&]<class T>(const Json& object, const char* name, T& target) {
    const auto number = whole_number<T>(object.at(name));
    if (!number)
      throw CheckpointError(path.string() + ": " + name + ": expected a whole number, found " +
                            object.at(name).dump());
    target = *number;
  };
  try {
    ModelDescription d;
    read_whole(json, "format_version", d.format_version);
    if (d.format_version > kFormatVersion) {
      throw CheckpointError(path.string() + ": format version " + std::to_string(d.format_version) +
                            " was written by a newer release (this one reads up to " +
                            std::to_string(kFormatVersion) + ")");
    }
    json.at("base").get_to(d.base);
    json.at("stage").get_to(d.stage);
    read_whole(json, "step", d.step);
    read_whole(json, "doc_max_tokens", d.doc_max_tokens);
    read_whole(json, "compression_rate", d.compression_rate);
    read_whole(json, "num_memory_tokens", d.num_memory_tokens);
    read_whole(json, "num_selected", d.num_selected);
    json.at("document_format").get_to(d.document_format);
    json.at("chat_format").get_to(d.chat_format);
    json.at("library_version").get_to(d.library_version);
    if (json.contains("adapters")) json.at("adapters").get_to(d.adapters);
    if (json.contains("context")) json.at("context").get_to(d.context);
    if (d.context != "latents" && d.context != "text" && d.context != "none") {
      throw CheckpointError(path.string() + ": context: expected latents, text or none, found " +
                            json.at("context").dump());
    }
    const Json& lora = json.at("lora");
    read_whole(lora, "rank", d.lora.rank);
    lora.at("alpha").get_to(d.lora.alpha);
    lora.at("dropout").get_to(d.lora.dropout);
    lora.at("target_modules").get_to(d.lora.target_modules);
    if (d.num_memory_tokens < 1 || d.lora.rank < 1)
      throw CheckpointError(path.string() + ": num_memory_tokens and lora.rank must be positive");
    return d;
  } catch (const Json::exception& error) {
    throw CheckpointError(path.string() + ": " + error.what());
  }
}

void load_model_files(const std::filesystem::path& folder, ClaraModel& model,
                      AdapterShapes shapes) {
  const torch::NoGradGuard no_grad;
  const ModelDescription description = read_model_description(folder);
  for (AdapterRole role : kAdapterRoles) {
    const std::filesystem::path adapter = folder / "adapters" / adapter_name(role);
    if (!description.holds(role)) {
      if (std::filesystem::exists(adapter)) {
        throw CheckpointError(adapter.string() + ": clara.json beside it says that the folder " +
                              "holds no such adapter");
      }
      continue;
    }
    if (shapes == AdapterShapes::kOfModel) {
      load_peft_adapter(adapter, model.adapter(role));
    } else {
      model.adapter(role) = read_peft_adapter(adapter, model.base().config(), model.device());
    }
  }
  const std::filesystem::path path = folder / kMemoryRowsName;
  if (!std::filesystem::exists(path)) throw CheckpointError(path.string() + ": not found");
  const SafetensorsFile file(path);
  MemoryTokens& memory = model.memory();
  if (shapes == AdapterShapes::kOfFolder && has_shared_row(file, description))
    share_memory_row(memory, memory.num_memory());
  load_rows(file, "memory_rows", memory.memory_rows);
  load_rows(file, "fixed_rows", memory.fixed_rows);
  if (memory.head_rows.defined()) load_rows(file, "head_rows", memory.head_rows);
  const std::size_t expected = memory.head_rows.defined() ? 3 : 2;
  if (file.tensors().size() != expected) {
    throw CheckpointError(path.string() + ": expected " + std::to_string(expected) +
                          " tensors, found " + std::to_string(file.tensors().size()) +
                          " (head_rows belong to models with an untied head)");
  }
}

}  // namespace clara
