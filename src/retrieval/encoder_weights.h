// The tensors of an encoder's folder, each to be taken once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"
#include "clara/common/safetensors_file.h"

namespace clara {

/// model.safetensors (or its shards), else pytorch_model.bin. Names are without the prefix "bert."
/// or "roberta." and with weight and bias where old checkpoints have gamma and beta.
class EncoderWeights {
 public:
  /// Throws DataError that names the folder or the file.
  explicit EncoderWeights(const std::filesystem::path& folder);

  bool has(const std::string& name) const { return tensors_.contains(name); }
  /// A float32 copy. Throws DataError: no such tensor, another shape, no floating-point numbers.
  torch::Tensor take(const std::string& name, const std::vector<std::int64_t>& shape);
  /// Leaves out what begins with `prefix`.
  void ignore(const std::string& prefix);
  /// Throws DataError for a tensor that was neither taken nor ignored.
  void check_all_taken() const;
  /// Of the files' bytes.
  const Hash128& content() const { return content_; }

 private:
  void add(const TensorEntry& entry, const std::shared_ptr<const void>& mapping);

  struct Tensor {
    TensorEntry entry;
    std::shared_ptr<const void> mapping;
  };
  std::string source_;  // for messages
  std::map<std::string, Tensor> tensors_;
  std::set<std::string> taken_;
  Hash128 content_;
};

}  // namespace clara
