// Latents that come out the same to the bit whatever else is encoded with them (CPU).
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <torch/types.h>

#include "clara/data/example.h"
#include "clara/model/clara_model.h"

namespace clara {

/// bfloat16 batches are filled up to a multiple of this many rows: oneDNN writes and keeps code for
/// every number of rows that it meets, half a megabyte each. Part of the fingerprint of stores, for
/// a processor may round by the number of rows.
inline constexpr std::int64_t kRowsMultiple = 16;

/// Whether, on one thread of this processor, the hidden states of a document have the same bits in
/// a batch as alone. Matrix libraries promise nothing about it, so this is measured, on documents
/// of many lengths in batches of several sizes, with one block of the model's base and an adapter
/// as its compressor's.
bool batches_keep_bits(const ClaraModel& model);

class RepeatableEncoder {
 public:
  /// The model, on the CPU, must outlive this; the batches that are encoded at a time have at most
  /// `max_tokens` tokens together (a document longer than its batch may be is one of its own).
  /// `share_batches` empty: as batches_keep_bits says, asked once, when it first matters.
  RepeatableEncoder(const ClaraModel& model, std::int64_t max_tokens,
                    std::optional<bool> share_batches = {})
      : model_(model), max_tokens_(max_tokens), share_batches_(share_batches) {}

  /// The compressor's latents [N, M, D], no gradient. Several threads split the rows of a product
  /// by their number, so every batch (or document, where batches change bits) is encoded on one
  /// thread, as many at a time as there are threads.
  torch::Tensor encode(const std::vector<const TokenIds*>& documents);

 private:
  const ClaraModel& model_;
  std::int64_t max_tokens_;
  std::optional<bool> share_batches_;
};

}  // namespace clara
