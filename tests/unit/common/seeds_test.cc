// Independent random streams: purpose and position matter, ranges hold, values are the same
// everywhere.
#include "clara/common/seeds.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace clara {
namespace {

TEST(Seeds, EveryPurposeAndPositionHasItsOwnSeed) {
  std::set<std::uint64_t> seeds;
  std::size_t count = 0;
  for (const std::uint64_t seed : {0ULL, 1ULL, 17ULL}) {
    for (const char* purpose : {"", "dropout", "shuffle"}) {
      for (std::uint64_t step = 0; step < 20; ++step) {
        for (std::uint64_t rank = 0; rank < 4; ++rank) {
          seeds.insert(derive_seed(seed, purpose, {step, rank}));
          ++count;
        }
      }
    }
  }
  EXPECT_EQ(seeds.size(), count);
  EXPECT_NE(derive_seed(1, "a", {2, 3}), derive_seed(1, "a", {3, 2}));
  EXPECT_NE(derive_seed(1, "a", {0}), derive_seed(1, "a"));
}

TEST(Seeds, AreComputedAtCompileTimeAndKeepTheirValues) {
  // Published first value of SplitMix64 from state 0.
  static_assert(mix_bits(0) == 0xE220A8397B1DCDAFULL);
  static_assert(derive_seed(17, "dropout", {1, 2}) == derive_seed(17, "dropout", {1, 2}));
  SUCCEED();
}

TEST(SeedStream, DrawsBelowTheLimitAndReachesEveryValue) {
  SeedStream stream(5);
  std::vector<int> counts(7, 0);
  for (int i = 0; i < 7000; ++i) {
    const std::uint64_t drawn = stream.below(7);
    ASSERT_LT(drawn, 7U);
    ++counts[static_cast<std::size_t>(drawn)];
  }
  for (const int count : counts) {
    // Six standard deviations of a binomial with mean 1000.
    EXPECT_GT(count, 820);
    EXPECT_LT(count, 1180);
  }
}

TEST(SeedStream, UniformStaysInTheHalfOpenUnitInterval) {
  SeedStream stream(6);
  double sum = 0;
  for (int i = 0; i < 10000; ++i) {
    const double drawn = stream.uniform();
    ASSERT_GE(drawn, 0.0);
    ASSERT_LT(drawn, 1.0);
    sum += drawn;
  }
  EXPECT_NEAR(sum / 10000, 0.5, 0.02);
}

}  // namespace
}  // namespace clara
