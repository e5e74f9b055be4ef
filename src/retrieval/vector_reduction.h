// Long vectors as fewer numbers, for what searches them approximately: their principal components.
#pragma once

#include <cstdint>
#include <filesystem>

#include <torch/types.h>

namespace clara {

/// Of passages, P (x − mean); of queries, P q: then the inner product misses ⟨q, mean⟩, which is
/// the same for every passage of a query, and what lies outside of the components.
class VectorReduction {
 public:
  /// The `count` (below n) largest principal components of sample [n, D] float32, which is centred
  /// in place: a copy could be gigabytes.
  static VectorReduction principal_components(torch::Tensor sample_nD, std::int64_t count);

  /// reduction.safetensors of a folder, written whole or not at all.
  void write(const std::filesystem::path& folder) const;
  /// Throws DataError where the file is missing or not of [count, dimension].
  static VectorReduction read(const std::filesystem::path& folder, std::int64_t count,
                              std::int64_t dimension);
  static void remove(const std::filesystem::path& folder);

  std::int64_t dimension() const { return components_.size(0); }  ///< after the reduction
  /// [n, D] → [n, dimension()], float32, contiguous.
  torch::Tensor passages(const torch::Tensor& vectors_nD) const;
  torch::Tensor queries(const torch::Tensor& vectors_nD) const;

 private:
  VectorReduction(torch::Tensor components, torch::Tensor mean);

  torch::Tensor components_;  // [count, D], orthonormal rows
  torch::Tensor mean_;        // [D]
};

}  // namespace clara
