// Laws of the order of an epoch.
#include "clara/data/epoch_order.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::Each;
using ::testing::ElementsAreArray;

class EpochOrders : public ::testing::Test {
 protected:
  // A source of `num_rows` rows.
  DataSource make(int num_rows, double weight) {
    std::string text;
    for (int i = 0; i < num_rows; ++i) text += "{}\n";
    const auto path = folder_ / ("rows" + std::to_string(num_files_++) + ".jsonl");
    write_text(path, text);
    return {.path = path.string(), .weight = weight};
  }

  static std::vector<std::int64_t> visits(const EpochOrder& order) {
    std::vector<std::int64_t> rows;
    for (std::int64_t i = 0; i < order.size(); ++i) rows.push_back(order[i]);
    return rows;
  }

  // How often each row is visited in epochs 0 … num_epochs - 1.
  static std::vector<int> counts(const RowSource& rows, std::uint64_t num_epochs) {
    std::vector<int> count(static_cast<std::size_t>(rows.size()), 0);
    for (std::uint64_t epoch = 0; epoch < num_epochs; ++epoch) {
      for (const std::int64_t row : visits(EpochOrder(rows, 17, epoch))) {
        ++count[static_cast<std::size_t>(row)];
      }
    }
    return count;
  }

  TemporaryFolder folder_;
  int num_files_ = 0;
};

TEST_F(EpochOrders, WeightOneIsAPermutation) {
  const RowSource rows({make(500, 1), make(300, 1)});
  std::vector<std::int64_t> order = visits(EpochOrder(rows, 17, 3));
  std::vector<std::int64_t> sorted(800);
  std::iota(sorted.begin(), sorted.end(), 0);
  EXPECT_NE(order, sorted);
  std::sort(order.begin(), order.end());
  EXPECT_THAT(order, ElementsAreArray(sorted));
}

TEST_F(EpochOrders, SameSeedAndEpochGiveTheSameOrderOthersDoNot) {
  const RowSource rows({make(200, 1.5)});
  const auto order = visits(EpochOrder(rows, 17, 0));
  EXPECT_EQ(visits(EpochOrder(rows, 17, 0)), order);
  EXPECT_NE(visits(EpochOrder(rows, 17, 1)), order);
  EXPECT_NE(visits(EpochOrder(rows, 18, 0)), order);
}

TEST_F(EpochOrders, OrderIsTheSameOnEveryPlatform) {
  const RowSource rows({make(8, 1)});
  EXPECT_THAT(visits(EpochOrder(rows, 17, 0)), ElementsAreArray({7, 5, 0, 4, 3, 2, 1, 6}));
}

TEST_F(EpochOrders, WholeWeightsRepeatEveryRow) {
  const RowSource rows({make(50, 3), make(20, 1)});
  const std::vector<int> count = counts(rows, 1);
  EXPECT_THAT(std::vector<int>(count.begin(), count.begin() + 50), Each(3));
  EXPECT_THAT(std::vector<int>(count.begin() + 50, count.end()), Each(1));
}

TEST_F(EpochOrders, FractionsTakeThatShareOfTheRowsOnceMore) {
  const RowSource rows({make(100, 2.3), make(40, 0.25)});
  const std::vector<int> count = counts(rows, 1);
  std::map<int, int> first;
  std::map<int, int> second;
  for (std::size_t i = 0; i < count.size(); ++i) ++(i < 100 ? first : second)[count[i]];
  EXPECT_EQ(first, (std::map<int, int>{{2, 70}, {3, 30}}));
  EXPECT_EQ(second, (std::map<int, int>{{0, 30}, {1, 10}}));
}

TEST_F(EpochOrders, OverTheEpochsFractionsReachAllRowsEqually) {
  const RowSource rows({make(40, 0.25), make(30, 1.1)});
  const std::vector<int> count = counts(rows, 20);
  EXPECT_THAT(std::vector<int>(count.begin(), count.begin() + 40), Each(5));
  EXPECT_THAT(std::vector<int>(count.begin() + 40, count.end()), Each(22));
}

TEST_F(EpochOrders, EveryEpochHasTheSameNumberOfVisits) {
  const RowSource rows({make(37, 0.61)});
  for (std::uint64_t epoch = 0; epoch < 30; ++epoch) {
    EXPECT_EQ(EpochOrder(rows, 17, epoch).size(), 23);
  }
}

TEST_F(EpochOrders, ASmallWeightStillGivesARow) {
  const RowSource rows({make(10, 0.01)});
  EXPECT_EQ(EpochOrder(rows, 17, 0).size(), 1);
}

TEST_F(EpochOrders, NoRowsGiveNoVisitsAndBadWeightsAreRefused) {
  EXPECT_EQ(EpochOrder(RowSource({}), 17, 0).size(), 0);
  EXPECT_THROW(EpochOrder(RowSource({make(3, -1)}), 17, 0), ConfigError);
}

}  // namespace
}  // namespace clara
