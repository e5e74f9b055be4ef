// The comparison that the other tests rely on sees every kind of difference and says where it is.
#include "tests/support/tensor_compare.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {
namespace {

std::string difference(const torch::Tensor& actual, const torch::Tensor& expected,
                       double relative = 0) {
  const ::testing::AssertionResult result = all_close(actual, expected, relative);
  EXPECT_EQ(result, std::string(result.message()).empty());
  return result.message();
}

TEST(AllClose, EqualTensorsAreClose) {
  const torch::Tensor values = torch::arange(6, torch::kFloat32).view({2, 3});
  EXPECT_EQ(difference(values, values.clone()), "");
  EXPECT_EQ(difference(values.t(), values.t().contiguous()), "");
  EXPECT_EQ(difference(torch::zeros({0, 3}), torch::zeros({0, 3})), "");
}

TEST(AllClose, AnotherDtypeIsADifferenceEvenOfEqualValues) {
  const torch::Tensor values = torch::ones({2});
  EXPECT_EQ(difference(values.to(torch::kBFloat16), values, 1), "dtype BFloat16, expected Float");
  EXPECT_EQ(difference(values, values.to(torch::kFloat64), 1), "dtype Float, expected Double");
}

TEST(AllClose, AnotherShapeIsADifferenceEvenOfEqualValues) {
  EXPECT_EQ(difference(torch::ones({2, 3}), torch::ones({3, 2}), 1),
            "shape [2, 3], expected [3, 2]");
  EXPECT_EQ(difference(torch::ones({1}), torch::ones({}), 1), "shape [1], expected []");
}

TEST(AllClose, NamesTheFirstDifferenceAndTheWorstByTheirIndices) {
  const torch::Tensor expected = torch::full({2, 3, 4}, 8.0F);
  torch::Tensor actual = expected.clone();
  actual[0][2][1] = 9;
  actual[1][0][3] = 4;
  EXPECT_EQ(difference(actual, expected, 0.1),
            "2 of 24 values differ by more than 0.1 of the largest, 8; the first at [0, 2, 1]: 9, "
            "expected 8; the worst at [1, 0, 3]: 4, expected 8");
  EXPECT_EQ(difference(actual.transpose(0, 2), expected.transpose(0, 2), 0.1),
            "2 of 24 values differ by more than 0.1 of the largest, 8; the first at [1, 2, 0]: 9, "
            "expected 8; the worst at [3, 0, 1]: 4, expected 8");
}

TEST(AllClose, TheToleranceIsRelativeToTheLargestExpectedValue) {
  const torch::Tensor expected = torch::tensor({100.0F, 0.0F});
  const torch::Tensor actual = torch::tensor({100.0F, 0.5F});
  EXPECT_EQ(difference(actual, expected, 0.01), "");
  EXPECT_NE(difference(actual, expected, 0.001), "");
  EXPECT_NE(difference(torch::tensor(1e-20F), torch::tensor(0.0F), 0.01), "");
}

TEST(AllClose, NanIsNeverClose) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const torch::Tensor one = torch::tensor({1.0F, 2.0F}), other = torch::tensor({1.0F, nan});
  EXPECT_NE(difference(other, one, 1), "");
  EXPECT_NE(difference(one, other, 1), "");
  EXPECT_NE(difference(other, other, 1), "");
}

}  // namespace
}  // namespace clara::testing
