// LibTorch tensors in .safetensors files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/common/safetensors_file.h"

namespace clara {

/// Throws DataError for the element types that LibTorch has no counterpart of.
torch::Dtype to_torch_dtype(TensorDtype dtype);
/// Throws Error for types that the format cannot hold.
TensorDtype from_torch_dtype(torch::Dtype dtype);

/// A CPU tensor over the mapped bytes, no copy; it keeps the mapping alive and must not be written
/// to.
torch::Tensor map_tensor(const TensorEntry& entry, std::shared_ptr<const void> mapping);

/// A CPU copy.
torch::Tensor copy_tensor(const TensorEntry& entry);

/// Name → CPU tensor (copies) of a whole file.
std::map<std::string, torch::Tensor> load_tensors(const std::filesystem::path& path);

/// Writes `tensors` in the order of their names, atomically.
void save_tensors(const std::filesystem::path& path,
                  const std::map<std::string, torch::Tensor>& tensors,
                  const std::map<std::string, std::string>& metadata = {});

}  // namespace clara
