// The base's tensors shard by shard, with B A added where the adapter has a pair.
#include "clara/checkpoint/merged_model.h"

#include <cstdio>
#include <map>
#include <vector>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/safetensors_file.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr std::string_view kPeftPrefix = "base_model.model.";
constexpr std::string_view kMatrixEnd = ".lora_A.weight";

/// What transformers reads beside weights and config.json.
constexpr const char* kCopiedFiles[] = {"generation_config.json",
                                        "tokenizer.json",
                                        "tokenizer.model",
                                        "tokenizer_config.json",
                                        "special_tokens_map.json",
                                        "added_tokens.json",
                                        "chat_template.jinja",
                                        "chat_template.json",
                                        "vocab.json",
                                        "merges.txt"};

struct Pair {
  torch::Tensor a, b;
};

/// The adapter's pairs by the name of the weight they change.
std::map<std::string, Pair> pairs_by_weight(const LoraAdapter& adapter) {
  std::map<std::string, Pair> pairs;
  for (const NamedTensor& named : adapter.named_tensors()) {
    const std::string path = named.name.substr(
        kPeftPrefix.size(), named.name.size() - kPeftPrefix.size() - kMatrixEnd.size());
    Pair& pair = pairs[path + ".weight"];
    (named.name.ends_with(kMatrixEnd) ? pair.a : pair.b) = named.tensor.to(torch::kCPU);
  }
  return pairs;
}

TensorDtype written_dtype(TensorDtype found, Dtype wanted) {
  const bool is_float =
      found == TensorDtype::kF32 || found == TensorDtype::kBF16 || found == TensorDtype::kF16;
  if (wanted == Dtype::kAuto || !is_float) return found;
  return wanted == Dtype::kFloat32 ? TensorDtype::kF32 : TensorDtype::kBF16;
}

std::string shard_name(std::size_t number, std::size_t count) {
  if (count == 1) return "model.safetensors";
  char name[64];
  std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", number + 1, count);
  return name;
}

void write_config(const fs::path& base_folder, const fs::path& output, Dtype dtype) {
  const fs::path path = base_folder / "config.json";
  Json config = parse_json<Json>(read_file(path));
  if (!config.is_object()) throw DataError(path.string() + ": expected a JSON object");
  if (dtype != Dtype::kAuto) {
    // transformers 5 writes "dtype", earlier releases "torch_dtype".
    const char* key = config.contains("dtype") ? "dtype" : "torch_dtype";
    config[key] = to_string(dtype);
  }
  write_file_atomically(output / "config.json", config.dump(2) + "\n");
}

}  // namespace

void make_export_folder(const fs::path& folder) {
  std::error_code error;
  if (fs::exists(folder, error) &&
      (!fs::is_directory(folder, error) || !fs::is_empty(folder, error)))
    throw CheckpointError(folder.string() +
                          ": expected an empty folder or none, found something in its place; "
                          "choose another --output");
  fs::create_directories(folder, error);
  if (error) throw CheckpointError(folder.string() + ": cannot be made: " + error.message());
}

void export_merged_model(const fs::path& base_folder, const LoraAdapter& adapter,
                         const fs::path& output, const MergeSettings& settings) {
  const torch::NoGradGuard no_grad;
  const SafetensorsFolder base(base_folder);
  const std::map<std::string, Pair> pairs = pairs_by_weight(adapter);
  for (const auto& [name, pair] : pairs) (void)base.at(name);
  make_export_folder(output);

  std::vector<std::vector<std::string>> shards(1);
  std::uint64_t shard_bytes = 0, total_bytes = 0;
  for (const std::string& name : base.names()) {
    const TensorEntry& entry = base.at(name);
    const std::uint64_t bytes = entry.num_bytes / dtype_num_bytes(entry.dtype) *
                                dtype_num_bytes(written_dtype(entry.dtype, settings.dtype));
    if (shard_bytes > 0 && shard_bytes + bytes > settings.max_shard_bytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shards.back().push_back(name);
    shard_bytes += bytes;
    total_bytes += bytes;
  }

  Json weight_map = Json::object();
  for (std::size_t s = 0; s < shards.size(); ++s) {
    std::map<std::string, torch::Tensor> tensors;
    for (const std::string& name : shards[s]) {
      const TensorEntry& entry = base.at(name);
      torch::Tensor weight = map_tensor(entry, base.mapping(name));
      const torch::Dtype dtype = to_torch_dtype(written_dtype(entry.dtype, settings.dtype));
      if (const auto pair = pairs.find(name); pair != pairs.end()) {
        weight = torch::addmm(weight.to(torch::kFloat32), pair->second.b, pair->second.a,
                              /*beta=*/1, /*alpha=*/adapter.scale());
      }
      tensors.emplace(name, weight.to(dtype));
      weight_map[name] = shard_name(s, shards.size());
    }
    save_tensors(output / shard_name(s, shards.size()), tensors, {{"format", "pt"}});
  }
  if (shards.size() > 1) {
    const Json index = {{"metadata", {{"total_size", total_bytes}}}, {"weight_map", weight_map}};
    write_file_atomically(output / "model.safetensors.index.json", index.dump(2) + "\n");
  }
  for (const char* name : kCopiedFiles) {
    if (fs::exists(base_folder / name))
      write_file_atomically(output / name, read_file(base_folder / name));
  }
  // Last: a folder without it is not taken for a model.
  write_config(base_folder, output, settings.dtype);
}

}  // namespace clara
