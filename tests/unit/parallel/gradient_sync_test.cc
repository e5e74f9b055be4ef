// The sums are those of one plain collective, whatever each rank's backward pass touches.
#include "clara/parallel/gradient_sync.h"

#include <algorithm>

#include "tests/support/rank_threads.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara::testing {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using torch::Tensor;

constexpr std::int64_t kSize = 6, kNumParameters = 5;

/// Parameters whose gradients are views of one buffer, as the optimizer makes them.
struct Parameters {
  Parameters() : buffer(torch::zeros({kSize * kNumParameters})) {
    for (std::int64_t i = 0; i < kNumParameters; ++i) {
      Tensor p = torch::arange(kSize, torch::kFloat32).add_(i).set_requires_grad(true);
      p.mutable_grad() = buffer.narrow(0, i * kSize, kSize);
      tensors.push_back(p);
    }
  }
  std::vector<GradientSegment> reversed() const {
    std::vector<GradientSegment> segments;
    for (std::int64_t i = kNumParameters; i-- > 0;)
      segments.push_back({tensors[static_cast<std::size_t>(i)], i * kSize, kSize});
    return segments;
  }
  /// d/dp = 2 p · weight for each parameter that is used.
  Tensor loss(const std::vector<std::size_t>& used, double weight) const {
    Tensor sum = torch::zeros({});
    for (const std::size_t i : used) sum = sum + (tensors[i] * tensors[i]).sum() * weight;
    return sum;
  }

  Tensor buffer;
  std::vector<Tensor> tensors;
};

const std::vector<std::size_t> kAll = {0, 1, 2, 3, 4};

TEST(GradientSync, BucketsCoverTheBufferUpToTheirSize) {
  SingleProcessCommunicator alone;
  const Parameters p;
  EXPECT_EQ(GradientSync(alone, p.buffer, p.reversed(), 1).num_buckets(), 5);
  EXPECT_EQ(GradientSync(alone, p.buffer, p.reversed(), 2 * kSize * 4).num_buckets(), 3);
  EXPECT_EQ(GradientSync(alone, p.buffer, p.reversed(), 1 << 20).num_buckets(), 1);
}

TEST(GradientSync, SegmentsThatLeaveAPartOutAreRefused) {
  SingleProcessCommunicator alone;
  const Parameters p;
  std::vector<GradientSegment> segments = p.reversed();
  segments.pop_back();
  EXPECT_THROW(GradientSync(alone, p.buffer, segments, 1), Error);
}

TEST(GradientSync, OverlapsFromTheSecondBackwardPassOnAndSumsTheSame) {
  const RankEnds ends = run_ranks(3, [](Communicator& group) {
    Parameters p;
    GradientSync sync(group, p.buffer, p.reversed(), kSize * 4);
    for (int step = 0; step < 3; ++step) {
      p.buffer.zero_();
      const double weight = 1.0 + static_cast<double>(group.rank()) + step;
      sync.begin_backward(false);
      p.loss(kAll, weight).backward();
      sync.begin_backward(true);
      p.loss(kAll, 10 * weight).backward();
      EXPECT_EQ(sync.num_overlapped(), 5);
      sync.finish();
      const double total = 11 * (3 * (1.0 + step) + 3);
      for (std::size_t i = 0; i < p.tensors.size(); ++i) {
        EXPECT_TRUE(torch::allclose(p.tensors[i].grad(), 2 * total * p.tensors[i].detach())) << i;
      }
    }
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(GradientSync, RanksMayTouchOtherParametersOrNone) {
  const RankEnds ends = run_ranks(3, [](Communicator& group) {
    Parameters p;
    GradientSync sync(group, p.buffer, p.reversed(), kSize * 4);
    for (int step = 0; step < 2; ++step) {
      p.buffer.zero_();
      if (group.rank() < 2) {  // rank 2 got no rows
        sync.begin_backward(true);
        p.loss(group.rank() == 0 ? std::vector<std::size_t>{4, 0} : std::vector<std::size_t>{2, 0},
               1)
            .backward();
      }
      sync.finish();
      const double factors[] = {4, 0, 2, 0, 2};
      for (std::size_t i = 0; i < p.tensors.size(); ++i)
        EXPECT_TRUE(torch::equal(p.tensors[i].grad(), factors[i] * p.tensors[i].detach())) << i;
    }
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(GradientSync, AParameterWithoutGradientHoldsUpOnlyTheBucketsBehindIt) {
  SingleProcessCommunicator alone;
  Parameters p;
  GradientSync sync(alone, p.buffer, p.reversed(), kSize * 4);
  for (int step = 0; step < 2; ++step) {
    sync.begin_backward(true);
    p.loss({0, 1, 3, 4}, 1).backward();
    if (step == 1) {
      EXPECT_EQ(sync.num_overlapped(), 2);  // 4 and 3; 2 never comes
    }
    sync.finish();
  }
}

TEST(GradientSync, GradientsThatComeInSeveralPartsGoOutWhole) {
  // As with activation checkpointing: an inner backward pass adds to the leaf by itself.
  const RankEnds ends = run_ranks(2, [](Communicator& group) {
    Parameters p;
    GradientSync sync(group, p.buffer, p.reversed(), kSize * 4);
    for (int step = 0; step < 3; ++step) {
      p.buffer.zero_();
      sync.begin_backward(true);
      p.loss(kAll, 1).backward();
      p.loss(kAll, 2).backward();
      sync.finish();
      for (const Tensor& t : p.tensors) EXPECT_TRUE(torch::equal(t.grad(), 12 * t.detach()));
    }
  });
  EXPECT_THAT(ends, Each(""));
}

TEST(GradientSync, AGradientThatComesTooLateIsAnError) {
  SingleProcessCommunicator alone;
  Parameters p;
  GradientSync sync(alone, p.buffer, p.reversed(), kSize * 4);
  sync.begin_backward(true);
  p.loss(kAll, 1).backward();
  sync.finish();
  sync.begin_backward(true);
  p.loss(kAll, 1).backward();
  p.loss(kAll, 1).backward();
  try {
    sync.finish();
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_THAT(std::string(error.what()), HasSubstr("more often"));
  }
}

TEST(GradientSync, LeavesNoHooksBehind) {
  SingleProcessCommunicator alone;
  Parameters p;
  { const GradientSync sync(alone, p.buffer, p.reversed(), kSize * 4); }
  p.loss(kAll, 1).backward();
  EXPECT_TRUE(torch::equal(p.tensors[1].grad(), 2 * p.tensors[1].detach()));
}

}  // namespace
}  // namespace clara::testing
