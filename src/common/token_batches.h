// Items in batches by their number of tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace clara {

/// Items [begin, end).
struct ItemRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// Consecutive items in batches of at most `max_tokens`, one item at least.
inline std::vector<ItemRange> token_batches(const std::vector<std::int64_t>& num_tokens,
                                            std::int64_t max_tokens) {
  std::vector<ItemRange> batches;
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < num_tokens.size(); ++i) {
    if (batches.empty() || sum + num_tokens[i] > max_tokens) {
      batches.push_back({i, i});
      sum = 0;
    }
    batches.back().end = i + 1;
    sum += num_tokens[i];
  }
  return batches;
}

}  // namespace clara
