// Names and shapes of LoRA matrices, each accounted for.
#include "checkpoint/lora_tensors.h"

#include <map>
#include <set>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

constexpr std::string_view kPeftPrefix = "base_model.model.";

/// The settings' target modules in their shortest form: kinds of layers where all blocks have them.
std::vector<std::string> compact_targets(const BaseConfig& base,
                                         const std::set<std::string>& adapted) {
  std::vector<std::string> targets;
  for (const ProjectionSpec& projection : base.projections()) {
    std::vector<std::string> paths;
    for (std::int64_t layer = 0; layer < base.num_layers; ++layer) {
      const std::string path = projection_path(layer, projection);
      if (adapted.contains(path)) paths.push_back(path);
    }
    if (static_cast<std::int64_t>(paths.size()) == base.num_layers)
      paths = {projection.module_name()};
    targets.insert(targets.end(), paths.begin(), paths.end());
  }
  return targets;
}

bool is_float(TensorDtype dtype) {
  return dtype == TensorDtype::kF32 || dtype == TensorDtype::kBF16 || dtype == TensorDtype::kF16;
}

}  // namespace

std::optional<std::string> plain_lora_name(const std::string& name) {
  std::string_view rest = name;
  if (rest.starts_with(kPeftPrefix)) rest.remove_prefix(kPeftPrefix.size());
  std::size_t matrix = rest.rfind(".lora_A.");
  if (matrix == rest.npos) matrix = rest.rfind(".lora_B.");
  if (matrix == rest.npos || !rest.ends_with(".weight")) return std::nullopt;
  std::string path(rest.substr(0, matrix));
  if (path.starts_with("layers.")) path = "model." + path;  // saved from the model without a head
  return path + std::string(rest.substr(matrix, 7)) + ".weight";
}

LoraAdapter adapter_from_tensors(const LoraTensors& source, const BaseConfig& base,
                                 LoraSettings settings,
                                 const std::optional<std::vector<std::string>>& required,
                                 torch::Device device) {
  const auto fail = [&](const std::string& name, const std::string& what) {
    return CheckpointError(source.place + "tensor " + name + ": " + what);
  };
  std::map<std::string, std::vector<std::int64_t>> places;  // plain name → shape
  for (std::int64_t layer = 0; layer < base.num_layers; ++layer) {
    for (const ProjectionSpec& p : base.projections()) {
      const std::string path = projection_path(layer, p);
      places[path + ".lora_A.weight"] = {settings.rank, p.in_features};
      places[path + ".lora_B.weight"] = {p.out_features, settings.rank};
    }
  }
  std::map<std::string, const TensorEntry*> found;
  std::set<std::string> adapted;
  for (const TensorEntry& entry : source.tensors) {
    const std::optional<std::string> name = plain_lora_name(entry.name);
    const auto place = name ? places.find(*name) : places.end();
    if (place == places.end())
      throw fail(entry.name,
                 "has no place in this model's adapter (LoRA matrices of the blocks' linear layers "
                 "are read, nothing else)");
    if (entry.shape != place->second) {
      throw fail(entry.name, "expected " + shape_string(place->second) + ", found " +
                                 shape_string(entry.shape) + " (rank " +
                                 std::to_string(settings.rank) + ", and the base model's layer)");
    }
    if (!is_float(entry.dtype))
      throw fail(entry.name, "expected float32, bfloat16 or float16, found " +
                                 std::string(dtype_name(entry.dtype)));
    if (!found.emplace(*name, &entry).second)
      throw fail(entry.name, "stands there twice, for two adapters");
    adapted.insert(name->substr(0, name->size() - std::string_view(".lora_A.weight").size()));
  }
  for (const auto& [name, shape] : places) {
    const std::string path =
        name.substr(0, name.size() - std::string_view(".lora_A.weight").size());
    const bool is_required = required && is_lora_target(*required, path);
    if ((is_required || adapted.contains(path)) && !found.contains(name))
      throw fail(name, "missing");
    if (required && !is_required && found.contains(name))
      throw fail(found.at(name)->name, "has no place: the layer is not among the target modules");
  }
  if (adapted.empty()) throw CheckpointError(source.place + "expected LoRA matrices, found none");

  settings.target_modules = compact_targets(base, adapted);
  LoraAdapter adapter(base, std::move(settings), 0, device);
  const torch::NoGradGuard no_grad;
  for (const NamedTensor& named : adapter.named_tensors()) {
    const TensorEntry& entry = *found.at(named.name.substr(kPeftPrefix.size()));
    named.tensor.copy_(map_tensor(entry, source.mapping));
  }
  return adapter;
}

}  // namespace clara
