// Two checkpoints, final/ folders, PEFT folders or .safetensors files, tensor by tensor
// (interface.md "Commands", clara-data diff).
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clara {

/// What two tensors of one name have to do with each other, the worst first.
enum class TensorMatch {
  kOtherShape,  ///< nothing more is compared
  kDifferent,   ///< values or dtypes differ by more than the tolerance
  kOnlyInA,
  kOnlyInB,
  kWithinTolerance,  ///< not equal, but near enough
  kEqual,            ///< same dtype, shape and values (−0 equals 0, NaN equals NaN)
};

struct TensorDiff {
  std::string name;  ///< "compressor/base_model.….lora_A.weight", "memory_rows"
  TensorMatch match = TensorMatch::kEqual;
  std::string a;  ///< "F32 [16, 576]"; empty where the tensor is missing
  std::string b;
  std::int64_t num_elements = 0;   ///< where the shapes agree
  std::int64_t num_different = 0;  ///< elements whose values differ
  double max_absolute = 0;         ///< largest |a − b|; infinite where one side is not a number
  double relative = 0;             ///< max_absolute / the largest finite |value| of either
  double relative_norm = 0;        ///< ‖a − b‖ / ‖a‖ over the whole tensor
};

/// A value of clara.json, adapter_config.json or config.json that differs.
struct ValueDiff {
  std::string file;  ///< "clara.json", "compressor/adapter_config.json"
  std::string key;   ///< "lora.rank"; empty: the whole file is on one side only
  std::string a;     ///< as JSON; empty where it is missing
  std::string b;
};

struct DiffSettings {
  /// Largest TensorDiff::relative that still passes. 0: values and dtypes must be equal; above 0
  /// two dtypes may hold the same values.
  double tolerance = 0;
  bool compare_values = true;  ///< of the JSON files
};

struct DiffReport {
  std::string a, b;                 ///< the paths compared
  std::vector<TensorDiff> tensors;  ///< sorted by match, then the larger difference first
  std::vector<ValueDiff> values;    ///< by file, then key
  bool compared_values = false;     ///< whether both sides had such files

  std::int64_t count(TensorMatch match) const;
  /// Whether every tensor is equal or within the tolerance and no value differs.
  bool is_equal() const;
};

/// Compares two places, each a .safetensors file or a folder. Of a folder every .safetensors file
/// in it and below counts; a tensor is named by the folder it lies in and its name in the file (by
/// the file too where two files of a folder share a name), and the folder adapters/ of a checkpoint
/// is left out of the names, so that checkpoints, exports and single adapters can be compared with
/// one another. JSON values are compared where both sides are folders. Throws DataError: no such
/// path, a folder without tensors, a file that is no sound .safetensors file, an element type that
/// cannot be computed with.
DiffReport diff_tensors(const std::filesystem::path& a, const std::filesystem::path& b,
                        const DiffSettings& settings = {});

struct DiffStyle {
  bool colors = false;        ///< escape sequences of a terminal
  bool all = false;           ///< equal tensors too
  std::size_t max_rows = 50;  ///< of the table of tensors; 0 = all
};

/// The report as aligned tables and a last line that sums it up.
std::string render_diff(const DiffReport& report, const DiffStyle& style = {});

}  // namespace clara
