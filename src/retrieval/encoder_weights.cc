// Reads either format of weights; names are brought to one form.
#include "retrieval/encoder_weights.h"

#include <string_view>
#include <utility>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/common/torch_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

std::string without_suffix(std::string name, std::string_view suffix, std::string_view instead) {
  if (name.ends_with(suffix)) name.replace(name.size() - suffix.size(), suffix.size(), instead);
  return name;
}

std::string plain_name(std::string name) {
  for (const std::string_view prefix : {"bert.", "roberta."}) {
    if (name.starts_with(prefix)) name.erase(0, prefix.size());
  }
  name = without_suffix(std::move(name), "LayerNorm.gamma", "LayerNorm.weight");
  return without_suffix(std::move(name), "LayerNorm.beta", "LayerNorm.bias");
}

}  // namespace

EncoderWeights::EncoderWeights(const fs::path& folder) {
  const fs::path torch_file = folder / "pytorch_model.bin";
  const bool has_safetensors = fs::exists(folder / "model.safetensors") ||
                               fs::exists(folder / "model.safetensors.index.json");
  ContentHasher hasher;
  if (has_safetensors) {
    const SafetensorsFolder files(folder);
    source_ = folder.string();
    for (const SafetensorsFile& file : files.files()) {
      for (const TensorEntry& entry : file.tensors()) add(entry, file.mapping());
      hasher.add_hash(hash_file(file.path()));
    }
  } else if (fs::exists(torch_file)) {
    const TorchFile file(torch_file);
    source_ = torch_file.string();
    const TorchFileGroup* group = file.find("");
    if (group == nullptr) {
      throw DataError(source_ + ": expected a dict of tensors, found one of dicts");
    }
    for (const TensorEntry& entry : group->tensors) add(entry, file.mapping());
    hasher.add_hash(hash_file(torch_file));
  } else {
    throw DataError(folder.string() +
                    ": expected model.safetensors or pytorch_model.bin, found neither");
  }
  content_ = hasher.digest();
}

void EncoderWeights::add(const TensorEntry& entry, const std::shared_ptr<const void>& mapping) {
  const auto [it, is_new] = tensors_.emplace(plain_name(entry.name), Tensor{entry, mapping});
  if (!is_new) {
    throw DataError(source_ + ": tensor " + entry.name + ": expected once, found also as " +
                    it->second.entry.name);
  }
}

torch::Tensor EncoderWeights::take(const std::string& name,
                                   const std::vector<std::int64_t>& shape) {
  const auto it = tensors_.find(name);
  if (it == tensors_.end()) {
    throw DataError(source_ + ": tensor " + name + " is missing");
  }
  const TensorEntry& entry = it->second.entry;
  if (entry.shape != shape) {
    throw DataError(source_ + ": tensor " + entry.name + ": expected the shape " +
                    shape_string(shape) + ", found " + shape_string(entry.shape));
  }
  const torch::Tensor tensor = map_tensor(entry, it->second.mapping);
  if (!tensor.is_floating_point()) {
    throw DataError(source_ + ": tensor " + entry.name +
                    ": expected floating-point numbers, found " +
                    std::string(dtype_name(entry.dtype)));
  }
  taken_.insert(name);
  return tensor.to(torch::kFloat32, /*non_blocking=*/false, /*copy=*/true).contiguous();
}

void EncoderWeights::ignore(const std::string& prefix) {
  for (const auto& [name, tensor] : tensors_) {
    if (name.starts_with(prefix)) taken_.insert(name);
  }
}

void EncoderWeights::check_all_taken() const {
  for (const auto& [name, tensor] : tensors_) {
    if (!taken_.contains(name)) {
      throw DataError(source_ + ": tensor " + tensor.entry.name +
                      ": a BERT encoder of this config.json has no such tensor");
    }
  }
}

}  // namespace clara
