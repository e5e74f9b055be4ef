// The order in which an epoch visits the rows: shuffled by seed and epoch, weighted by file.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "clara/data/row_source.h"

namespace clara {

/// A row of a file of weight w is visited ⌊w⌋ times an epoch, and the fraction w − ⌊w⌋ of the
/// file's rows (rounded to whole rows) once more: each epoch takes the next of them in a fixed
/// shuffled round, so that over the epochs all rows get their turn. Every epoch has the same number
/// of visits. The same arguments give the same order on every platform.
class EpochOrder {
 public:
  /// Throws ConfigError for a weight that is negative or not finite. A weight above 0 that rounds
  /// to no row at all gives one row.
  EpochOrder(const RowSource& rows, std::uint64_t shuffle_seed, std::uint64_t epoch);

  /// Visits of the epoch.
  std::int64_t size() const { return static_cast<std::int64_t>(rows_.size()); }
  /// Row of the visit at `position`, 0 ≤ position < size().
  std::int64_t operator[](std::int64_t position) const {
    return rows_[static_cast<std::size_t>(position)];
  }

 private:
  std::vector<std::int64_t> rows_;
};

}  // namespace clara
