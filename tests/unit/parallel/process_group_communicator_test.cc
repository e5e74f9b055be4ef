// Collectives of a real group, and what its ranks are told when one of them fails.
#include "clara/parallel/process_group_communicator.h"

#include <atomic>
#include <chrono>
#include <mutex>

#include "tests/support/rank_threads.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara::testing {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using torch::Tensor;

TEST(JoinGroup, AGroupOfOneNeedsNoStore) {
  const auto alone = join_group({}, {});
  EXPECT_EQ(alone->rank(), 0);
  EXPECT_EQ(alone->size(), 1);
  EXPECT_THAT(alone->gather("x"), ElementsAre("x"));
}

TEST(JoinGroup, RanksThatDoNotComeAreNamed) {
  const RankEnds ends = run_ranks(
      4, [](Communicator&) {}, 0.5, 2);
  EXPECT_THAT(ends, Each(AllOf(HasSubstr("did not come: 2, 3"), HasSubstr("of 4 waited"))));
}

TEST(JoinGroup, AStoreThatNobodyServesIsNamed) {
  LaunchEnv env = meeting_place(2);
  ::close(static_cast<int>(env.store_socket));
  env.store_socket = -1;
  env.rank = 1;
  GroupSettings settings;
  settings.timeout_seconds = 0.5;
  try {
    join_group(env, settings);
    FAIL() << "joined";
  } catch (const DistributedError& error) {
    EXPECT_THAT(
        std::string(error.what()),
        AllOf(StartsWith("rank 1 of 2"), HasSubstr("could not reach the store at 127.0.0.1"),
              HasSubstr("MASTER_ADDR")));
  }
}

TEST(ProcessGroupCommunicator, SumsTensorsOfEveryKindInPlace) {
  std::mutex mutex;
  std::vector<Tensor> results;
  const RankEnds ends = run_ranks(3, [&](Communicator& group) {
    const auto rank = static_cast<double>(group.rank());
    Tensor a = torch::full({5}, rank, torch::kFloat32);
    Tensor strided = torch::full({4, 3}, rank + 1, torch::kFloat64).t();
    Tensor counts = torch::full({2}, group.rank() + 10, torch::kInt64);
    group.sum(a);
    group.sum(strided);
    group.sum(counts);
    const std::lock_guard<std::mutex> lock(mutex);
    EXPECT_TRUE(torch::equal(a, torch::full({5}, 3.0F)));
    EXPECT_TRUE(torch::equal(strided, torch::full({3, 4}, 6.0, torch::kFloat64)));
    EXPECT_TRUE(torch::equal(counts, torch::full({2}, 33, torch::kInt64)));
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(ProcessGroupCommunicator, EveryRankGetsTheSameBits) {
  std::vector<Tensor> results(4);
  const RankEnds ends = run_ranks(4, [&](Communicator& group) {
    auto generator = at::detail::createCPUGenerator(static_cast<std::uint64_t>(group.rank()) + 1);
    Tensor values = torch::randn({10007}, generator);
    group.sum(values);
    results[static_cast<std::size_t>(group.rank())] = values;
  });
  EXPECT_THAT(ends, Each(""));
  for (const Tensor& result : results) EXPECT_TRUE(torch::equal(result, results[0]));
}

TEST(ProcessGroupCommunicator, GathersBytesOfAnyLength) {
  const RankEnds ends = run_ranks(3, [&](Communicator& group) {
    const std::string own(static_cast<std::size_t>(group.rank()) * 3, 'a' + group.rank());
    EXPECT_THAT(group.gather(own), ElementsAre("", "bbb", "cccccc"));
    EXPECT_THAT(group.gather(""), Each(""));
    EXPECT_THAT(group.gather(std::string("\0x", 2)), Each(std::string("\0x", 2)));
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(ProcessGroupCommunicator, SumsCounts) {
  const RankEnds ends = run_ranks(2, [&](Communicator& group) {
    std::vector<std::int64_t> counts = {group.rank(), std::int64_t{1} << 40}, none;
    group.sum(counts);
    group.sum(none);
    EXPECT_THAT(counts, ElementsAre(1, std::int64_t{1} << 41));
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(ProcessGroupCommunicator, StartedSumsEndInAnyOrderOfWaiting) {
  const RankEnds ends = run_ranks(2, [&](Communicator& group) {
    Tensor a = torch::ones({3}), b = torch::full({4}, 2.0F);
    const auto first = group.start_sum(a), second = group.start_sum(b);
    second->wait();
    first->wait();
    EXPECT_TRUE(torch::equal(a, torch::full({3}, 2.0F)));
    EXPECT_TRUE(torch::equal(b, torch::full({4}, 4.0F)));
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(ProcessGroupCommunicator, ABarrierWaitsForAll) {
  std::atomic<int> arrived{0};
  const RankEnds ends = run_ranks(3, [&](Communicator& group) {
    ++arrived;
    group.barrier();
    EXPECT_EQ(arrived, 3);
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(ProcessGroupCommunicator, AnAnnouncedFailureEndsTheOthersWithItsCause) {
  const RankEnds ends = run_ranks(
      3,
      [&](Communicator& group) {
        group.set_step(7);
        group.barrier();
        if (group.rank() == 1) {
          group.announce_failure("train.jsonl:3: a bad row");
          throw DataError("own error");
        }
        Tensor values = torch::ones({4});
        group.sum(values);
      },
      20);
  EXPECT_EQ(ends[1], "own error");
  for (const std::size_t rank : {0, 2}) {
    EXPECT_THAT(ends[rank], AllOf(StartsWith("rank 1 of 3 (process "),
                                  HasSubstr("stopped at step 7: train.jsonl:3: a bad row")));
  }
}

TEST(ProcessGroupCommunicator, AfterAFailureEveryCollectiveTellsIt) {
  const RankEnds ends = run_ranks(
      2,
      [&](Communicator& group) {
        if (group.rank() == 1) {
          group.announce_failure("gone");
          throw DataError("own error");
        }
        for (int i = 0; i < 2; ++i) {
          EXPECT_THROW(group.barrier(), DistributedError);
        }
        EXPECT_THROW(group.gather("x"), DistributedError);
      },
      20);
  EXPECT_THAT(ends[0], StartsWith("rank 1 of 2"));  // leaving is a collective too
}

TEST(ProcessGroupCommunicator, ARankThatDoesNotComeIsNamedWithItsStep) {
  std::atomic<bool> done{false};
  const RankEnds ends = run_ranks(
      3,
      [&](Communicator& group) {
        group.set_step(12);
        group.barrier();
        if (group.rank() == 2) {
          while (!done) std::this_thread::sleep_for(std::chrono::milliseconds(10));
          throw DataError("slept");
        }
        try {
          group.barrier();
        } catch (...) {
          done = true;
          throw;
        }
      },
      4);
  for (const std::size_t rank : {0, 1}) {
    EXPECT_THAT(ends[rank], AllOf(StartsWith("rank 2 of 3"), HasSubstr("hangs at step 12"),
                                  HasSubstr("parallel.timeout_seconds")));
  }
}

TEST(ProcessGroupCommunicator, TheEndOfRank0AndOfItsStoreIsNamedWithTheStep) {
  const RankEnds ends = run_ranks(
      3,
      [&](Communicator& group) {
        group.set_step(9);
        group.barrier();
        if (group.rank() == 0) throw DataError("ends without a word");
        group.barrier();
      },
      20);
  for (const std::size_t rank : {1, 2}) {
    EXPECT_THAT(
        ends[rank],
        AllOf(StartsWith("rank 0 of 3 (process "), HasSubstr("died or was cut off at step 9"),
              HasSubstr("the store that it serves at 127.0.0.1:"), HasSubstr("is gone")));
  }
}

TEST(ProcessGroupCommunicator, ARankThatDoesNotNoticeAFailureIsToldOtherwise) {
  const LaunchEnv place = meeting_place(2);
  std::mutex mutex;
  std::string told;
  std::vector<std::thread> threads;
  for (std::int64_t rank = 0; rank < 2; ++rank) {
    threads.emplace_back([&, rank] {
      LaunchEnv env = place;
      env.rank = env.local_rank = rank;
      GroupSettings settings;
      settings.timeout_seconds = 1;
      settings.on_stuck = [&](const std::string& cause) {
        const std::lock_guard<std::mutex> lock(mutex);
        told = cause;
      };
      const auto group = join_group(env, settings);
      if (rank == 1) {
        group->announce_failure("gone");
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      } else {
        for (int i = 0; i < 1000; ++i) {
          std::this_thread::sleep_for(std::chrono::milliseconds(10));
          const std::lock_guard<std::mutex> lock(mutex);
          if (!told.empty()) break;
        }
        EXPECT_THROW(group->barrier(), DistributedError);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_THAT(told, HasSubstr("rank 1 of 2"));
}

}  // namespace
}  // namespace clara::testing
