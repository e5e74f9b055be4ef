// Sequences laid end to end in one dimension: no padding exists anywhere in the model's arithmetic.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include <torch/types.h>

namespace clara {

/// Where the sequences of a packed batch begin and end. T = total tokens, N = sequences.
class PackedLayout {
 public:
  /// `lengths` [N], each at least 1. `device` is where `positions()` lives.
  PackedLayout(std::vector<std::int64_t> lengths, torch::Device device);

  std::int64_t num_sequences() const { return static_cast<std::int64_t>(lengths_.size()); }
  std::int64_t total_tokens() const { return offsets_.back(); }
  std::int64_t longest() const { return longest_; }
  std::int64_t length(std::int64_t n) const { return lengths_[static_cast<std::size_t>(n)]; }
  std::int64_t begin(std::int64_t n) const { return offsets_[static_cast<std::size_t>(n)]; }
  std::int64_t end(std::int64_t n) const { return offsets_[static_cast<std::size_t>(n) + 1]; }
  /// [T] int64: 0, 1, 2, … within each sequence.
  const torch::Tensor& positions() const { return positions_; }
  /// [T] int64: the sequence each token belongs to.
  torch::Tensor sequence_of_token() const;
  /// [T] int64: where each token stands once all sequences are padded to the longest and laid end
  /// to end. Made at the first call; not thread-safe.
  const torch::Tensor& padded_places() const;

 private:
  std::vector<std::int64_t> lengths_;
  std::vector<std::int64_t> offsets_;  // N + 1
  std::int64_t longest_ = 0;
  torch::Tensor positions_;
  mutable torch::Tensor padded_places_;
};

/// Which ids are memory tokens and which are the other added tokens: V … V+M−1, then V+M … V+M+2
/// (numerics §2).
struct AddedTokenRange {
  std::int64_t base_vocab_rows = 0;  ///< V
  std::int64_t num_memory = 0;       ///< M
};

/// Token ids of N sequences with their layout. All index tensors are made on the host, so that no
/// pass has to wait for a device to find them.
struct PackedSequences {
  torch::Tensor ids;            ///< [T] int64; ids of added tokens replaced by 0
  torch::Tensor added_places;   ///< [A] int64: where added tokens stand
  torch::Tensor added_rows;     ///< [A] int64: which of the M+3 added rows stands there
  torch::Tensor memory_places;  ///< [·] int64: where memory tokens stand, in order
  std::shared_ptr<const PackedLayout> layout;
};

/// Lays `sequences` (none empty, at least one) end to end on `device`.
PackedSequences pack_sequences(const std::vector<const std::vector<std::int32_t>*>& sequences,
                               AddedTokenRange added, torch::Device device);

}  // namespace clara
