// Latents that come out the same to the bit whatever else is encoded with them (CPU).
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include <torch/types.h>

#include "clara/data/example.h"
#include "clara/model/clara_model.h"

namespace clara {

/// bfloat16 products are rounded up to this many rows: oneDNN writes and keeps code for every number
/// of rows that it meets, half a megabyte for each document length.
inline constexpr std::size_t kRowsMultiple = 16;

/// Whether, on one thread of this processor, a document's latents have the same bits in a batch as
/// alone. A matrix library promises nothing about it; this encodes documents both ways through one
/// block of the model's shapes and compares.
bool batches_keep_bits(const ClaraModel& model);

class RepeatableEncoder {
 public:
  /// The model, on the CPU, must outlive this. `share_batches` empty: as batches_keep_bits says,
  /// asked when it first matters.
  explicit RepeatableEncoder(const ClaraModel& model, std::optional<bool> share_batches = {})
      : model_(model), share_batches_(share_batches) {}

  /// The compressor's latents [N, M, D], no gradient. On one thread a product's rows are not split
  /// by their number, so every batch (or document, where batches change bits) is encoded on one
  /// thread, as many at a time as there are threads.
  torch::Tensor encode(const std::vector<const TokenIds*>& documents);

 private:
  const ClaraModel& model_;
  std::optional<bool> share_batches_;
};

}  // namespace clara
