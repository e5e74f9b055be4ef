// The bridge between safetensors entries and LibTorch tensors.
#include "clara/common/tensor_file.h"

#include <cstring>

#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

struct DtypePair {
  TensorDtype file;
  torch::Dtype torch;
};

constexpr DtypePair kPairs[] = {
    {TensorDtype::kBool, torch::kBool},   {TensorDtype::kU8, torch::kUInt8},
    {TensorDtype::kI8, torch::kInt8},     {TensorDtype::kI16, torch::kInt16},
    {TensorDtype::kI32, torch::kInt32},   {TensorDtype::kI64, torch::kInt64},
    {TensorDtype::kF16, torch::kFloat16}, {TensorDtype::kBF16, torch::kBFloat16},
    {TensorDtype::kF32, torch::kFloat32}, {TensorDtype::kF64, torch::kFloat64},
};

}  // namespace

torch::Dtype to_torch_dtype(TensorDtype dtype) {
  for (const DtypePair& pair : kPairs) {
    if (pair.file == dtype) return pair.torch;
  }
  throw DataError("tensors of type " + std::string(dtype_name(dtype)) + " are not supported");
}

TensorDtype from_torch_dtype(torch::Dtype dtype) {
  for (const DtypePair& pair : kPairs) {
    if (pair.torch == dtype) return pair.file;
  }
  throw Error("tensors of type " + std::string(c10::toString(dtype)) + " cannot be stored");
}

torch::Tensor map_tensor(const TensorEntry& entry, std::shared_ptr<const void> mapping) {
  // from_blob takes a mutable pointer; the pages are read-only, and base weights are never written.
  auto* data = const_cast<std::byte*>(entry.data);
  return torch::from_blob(
      data, entry.shape, [mapping = std::move(mapping)](void*) {}, to_torch_dtype(entry.dtype));
}

torch::Tensor copy_tensor(const TensorEntry& entry) {
  torch::Tensor result = torch::empty(entry.shape, to_torch_dtype(entry.dtype));
  std::memcpy(result.mutable_data_ptr(), entry.data, entry.num_bytes);
  return result;
}

std::map<std::string, torch::Tensor> load_tensors(const std::filesystem::path& path) {
  const SafetensorsFile file(path);
  std::map<std::string, torch::Tensor> result;
  for (const TensorEntry& entry : file.tensors()) result.emplace(entry.name, copy_tensor(entry));
  return result;
}

void save_tensors(const std::filesystem::path& path,
                  const std::map<std::string, torch::Tensor>& tensors,
                  const std::map<std::string, std::string>& metadata) {
  std::vector<torch::Tensor> alive;
  std::vector<TensorEntry> entries;
  for (const auto& [name, tensor] : tensors) {
    alive.push_back(tensor.detach().to(torch::kCPU).contiguous());
    const torch::Tensor& t = alive.back();
    entries.push_back({name, from_torch_dtype(t.scalar_type()), t.sizes().vec(),
                       static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()});
  }
  write_safetensors(path, entries, metadata);
}

}  // namespace clara
