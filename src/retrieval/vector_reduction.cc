// The components come from the smaller of two products: of the sample's rows with each other, or of
// its columns.
#include "retrieval/vector_reduction.h"

#include <string>
#include <utility>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr const char* kFileName = "reduction.safetensors";
constexpr double kLeastVariance = 1e-7;  // of the largest: below, a direction is float32 rounding

}  // namespace

VectorReduction::VectorReduction(Tensor components, Tensor mean)
    : components_(std::move(components)), mean_(std::move(mean)) {}

VectorReduction VectorReduction::principal_components(Tensor sample_nD, std::int64_t count) {
  const torch::NoGradGuard no_grad;
  const Tensor mean = sample_nD.mean(0);
  const Tensor centred = sample_nD.sub_(mean);
  const bool by_rows = centred.size(0) <= centred.size(1);
  const Tensor product =
      by_rows ? torch::mm(centred, centred.t()) : torch::mm(centred.t(), centred);
  // Ascending: the last are the largest.
  const auto [values, vectors] = torch::linalg_eigh(product.to(torch::kFloat64), "L");
  const Tensor largest = vectors.narrow(1, vectors.size(1) - count, count)
                             .flip(1)
                             .t()
                             .to(torch::kFloat32)
                             .contiguous();
  if (!by_rows) return {largest, mean};
  const Tensor variances = values.narrow(0, values.size(0) - count, count).flip(0);
  const Tensor is_there = variances > kLeastVariance * variances[0];
  const Tensor scales =
      torch::where(is_there, variances.clamp_min(1e-300).rsqrt(), torch::zeros_like(variances));
  return {torch::mm(largest, centred).mul_(scales.to(torch::kFloat32).unsqueeze(1)), mean};
}

void VectorReduction::write(const fs::path& folder) const {
  save_tensors(folder / kFileName, {{"components", components_}, {"mean", mean_}});
}

VectorReduction VectorReduction::read(const fs::path& folder, std::int64_t count,
                                      std::int64_t dimension) {
  const fs::path path = folder / kFileName;
  if (!fs::exists(path)) throw DataError(path.string() + ": not found; build the index again");
  const SafetensorsFile file(path);
  const auto read = [&](const char* name, const std::vector<std::int64_t>& shape) {
    const TensorEntry& entry = file.at(name);
    if (entry.dtype != TensorDtype::kF32 || entry.shape != shape) {
      throw DataError(path.string() + ": tensor " + name + ": expected F32 " + shape_string(shape) +
                      ", found " + std::string(dtype_name(entry.dtype)) + " " +
                      shape_string(entry.shape) + "; build the index again");
    }
    return copy_tensor(entry);
  };
  Tensor components = read("components", {count, dimension});
  return {std::move(components), read("mean", {dimension})};
}

void VectorReduction::remove(const fs::path& folder) { fs::remove(folder / kFileName); }

Tensor VectorReduction::passages(const Tensor& vectors_nD) const {
  return torch::mm(vectors_nD - mean_, components_.t()).contiguous();
}

Tensor VectorReduction::queries(const Tensor& vectors_nD) const {
  return torch::mm(vectors_nD, components_.t()).contiguous();
}

}  // namespace clara
