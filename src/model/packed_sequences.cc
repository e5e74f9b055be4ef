// Packing of token sequences without padding.
#include "clara/model/packed_sequences.h"

#include <algorithm>
#include <string>

#include "common/device_copy.h"
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {

PackedLayout::PackedLayout(std::vector<std::int64_t> lengths, torch::Device device)
    : lengths_(std::move(lengths)) {
  if (lengths_.empty()) throw Error("a packed batch needs at least one sequence");
  offsets_.reserve(lengths_.size() + 1);
  offsets_.push_back(0);
  for (std::int64_t length : lengths_) {
    if (length < 1) throw Error("a packed batch cannot hold an empty sequence");
    offsets_.push_back(offsets_.back() + length);
    longest_ = std::max(longest_, length);
  }
  torch::Tensor positions = torch::empty({offsets_.back()}, torch::kInt64);
  auto* out = positions.mutable_data_ptr<std::int64_t>();
  for (std::int64_t length : lengths_) {
    for (std::int64_t i = 0; i < length; ++i) *out++ = i;
  }
  positions_ = to_device(positions, device);
}

torch::Tensor PackedLayout::sequence_of_token() const {
  torch::Tensor result = torch::empty({total_tokens()}, torch::kInt64);
  auto* out = result.mutable_data_ptr<std::int64_t>();
  for (std::int64_t n = 0; n < num_sequences(); ++n) {
    for (std::int64_t i = 0; i < length(n); ++i) *out++ = n;
  }
  return to_device(result, positions_.device());
}

const torch::Tensor& PackedLayout::padded_places() const {
  if (!padded_places_.defined()) {
    torch::Tensor places = torch::empty({total_tokens()}, torch::kInt64);
    auto* out = places.mutable_data_ptr<std::int64_t>();
    for (std::int64_t n = 0; n < num_sequences(); ++n) {
      for (std::int64_t i = 0; i < length(n); ++i) *out++ = n * longest_ + i;
    }
    padded_places_ = to_device(places, positions_.device());
  }
  return padded_places_;
}

PackedSequences pack_sequences(const std::vector<const std::vector<std::int32_t>*>& sequences,
                               AddedTokenRange added, torch::Device device) {
  std::vector<std::int64_t> lengths, ids, added_places, added_rows, memory_places;
  for (const auto* sequence : sequences) {
    lengths.push_back(static_cast<std::int64_t>(sequence->size()));
    for (std::int64_t id : *sequence) {
      const std::int64_t row = id - added.base_vocab_rows,
                         place = static_cast<std::int64_t>(ids.size());
      if (id < 0 || row >= added.num_memory + 3)
        throw Error("token id " + std::to_string(id) + " is outside the vocabulary");
      if (row >= 0) {
        added_places.push_back(place);
        added_rows.push_back(row);
        if (row < added.num_memory) memory_places.push_back(place);
      }
      ids.push_back(row >= 0 ? 0 : id);
    }
  }
  return {to_device(ids, device), to_device(added_places, device), to_device(added_rows, device),
          to_device(memory_places, device),
          std::make_shared<PackedLayout>(std::move(lengths), device)};
}

}  // namespace clara
