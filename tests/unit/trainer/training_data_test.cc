// How the rows of a step are dealt to the ranks.
#include "clara/trainer/training_data.h"

#include <algorithm>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara::testing {
namespace {

using ::testing::ElementsAre;

/// Rows of which only the work is known.
class WorkOfRows final : public TrainingData {
 public:
  explicit WorkOfRows(std::vector<std::int64_t> work) : work_(std::move(work)) {}
  std::int64_t rows_per_epoch() const override { return static_cast<std::int64_t>(work_.size()); }
  std::optional<Example> row(std::int64_t /*epoch*/, std::int64_t /*position*/) override {
    ADD_FAILURE() << "a row was made to deal it out";
    return std::nullopt;
  }
  std::int64_t work(std::int64_t /*epoch*/, std::int64_t position) override {
    return work_[static_cast<std::size_t>(position)];
  }

 private:
  std::vector<std::int64_t> work_;
};

TEST(PositionsOfRank, OneRankHasAllRowsInTheirOrder) {
  WorkOfRows data({5, 1, 9, 2});
  EXPECT_THAT(positions_of_rank(data, {0, 1, 4}, 0, 1), ElementsAre(1, 2, 3));
}

TEST(PositionsOfRank, TheLargestRowsGoToDifferentRanks) {
  WorkOfRows data({100, 1, 90, 2, 10, 20});
  // From the largest to the smallest: 0, 2, 5, 4, 3, 1; forth and back.
  EXPECT_THAT(positions_of_rank(data, {0, 0, 6}, 0, 2), ElementsAre(0, 3, 4));
  EXPECT_THAT(positions_of_rank(data, {0, 0, 6}, 1, 2), ElementsAre(1, 2, 5));
}

TEST(PositionsOfRank, EachRowBelongsToOneRankAndTheWorkIsEven) {
  std::mt19937 random(3);
  for (int repetition = 0; repetition < 200; ++repetition) {
    std::vector<std::int64_t> work(1 + random() % 40);
    for (std::int64_t& w : work) w = 1 + static_cast<std::int64_t>(random() % 1000);
    WorkOfRows data(work);
    const std::int64_t num = data.rows_per_epoch(),
                       begin = static_cast<std::int64_t>(random()) % num,
                       size = 1 + static_cast<std::int64_t>(random() % 6);
    std::vector<std::int64_t> all, counts, totals;
    for (std::int64_t rank = 0; rank < size; ++rank) {
      const std::vector<std::int64_t> mine = positions_of_rank(data, {2, begin, num}, rank, size);
      EXPECT_TRUE(std::is_sorted(mine.begin(), mine.end()));
      counts.push_back(std::ssize(mine));
      totals.push_back(0);
      for (const std::int64_t position : mine) totals.back() += data.work(2, position);
      all.insert(all.end(), mine.begin(), mine.end());
    }
    std::sort(all.begin(), all.end());
    ASSERT_EQ(std::ssize(all), num - begin);
    for (std::int64_t i = 0; i < std::ssize(all); ++i)
      EXPECT_EQ(all[static_cast<std::size_t>(i)], begin + i);
    const auto [fewest, most] = std::minmax_element(counts.begin(), counts.end());
    EXPECT_LE(*most - *fewest, 1);
    const auto [least, greatest] = std::minmax_element(totals.begin(), totals.end());
    EXPECT_LE(*greatest - *least, *std::max_element(work.begin() + begin, work.end()));
  }
}

}  // namespace
}  // namespace clara::testing
