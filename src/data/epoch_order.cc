// Weighted, seeded order of an epoch.
#include "clara/data/epoch_order.h"

#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {
namespace {

void shuffle(std::vector<std::int64_t>& rows, std::uint64_t seed) {
  SeedStream stream(seed);
  for (std::size_t i = rows.size(); i > 1; --i) {
    std::swap(rows[i - 1], rows[static_cast<std::size_t>(stream.below(i))]);
  }
}

}  // namespace

EpochOrder::EpochOrder(const RowSource& rows, std::uint64_t shuffle_seed, std::uint64_t epoch) {
  for (std::size_t s = 0; s < rows.sources().size(); ++s) {
    const SourceRows& source = rows.sources()[s];
    if (!std::isfinite(source.weight) || source.weight < 0) {
      throw ConfigError(source.path + ": weight: expected a finite number of at least 0, found " +
                        std::to_string(source.weight));
    }
    if (source.num_rows == 0 || source.weight == 0) continue;
    std::vector<std::int64_t> all(static_cast<std::size_t>(source.num_rows));
    std::iota(all.begin(), all.end(), source.first_row);

    const double whole = std::floor(source.weight);
    for (auto left = static_cast<std::uint64_t>(whole); left > 0; --left)
      rows_.insert(rows_.end(), all.begin(), all.end());

    auto num_extra = static_cast<std::uint64_t>(
        std::llround((source.weight - whole) * static_cast<double>(source.num_rows)));
    if (whole == 0 && num_extra == 0) num_extra = 1;
    if (num_extra == 0) continue;
    // The round does not depend on the epoch; each epoch goes on where the one before it stopped.
    shuffle(all, derive_seed(shuffle_seed, "epoch_order_extra", {s}));
    const std::uint64_t start = (epoch % all.size()) * num_extra % all.size();
    for (std::uint64_t i = 0; i < num_extra; ++i) {
      rows_.push_back(all[static_cast<std::size_t>((start + i) % all.size())]);
    }
  }
  shuffle(rows_, derive_seed(shuffle_seed, "epoch_order", {epoch}));
}

}  // namespace clara
