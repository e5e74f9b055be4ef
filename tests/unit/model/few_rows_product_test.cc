// The product of a few rows against the library's, at every number of rows and at lengths that no
// vector divides.
#include "model/few_rows_product.h"

#include "tests/support/tensor_compare.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/model/next_token.h"

namespace clara::testing {
namespace {

using torch::Tensor;

void expect_close(const Tensor& found, const Tensor& expected) {
  EXPECT_TRUE(torch::allclose(found, expected, 1e-5, 1e-4))
      << (found - expected).abs().max().item<double>();
}

/// Sums in another order may fall on the other side of a rounding border, by one unit in the last
/// of bfloat16's 8 digits, but few do.
void expect_rounded(const Tensor& found, const Tensor& exact) {
  EXPECT_LE((found.to(torch::kFloat32) - exact).abs().max().item<double>(),
            exact.abs().max().item<double>() / 256);
  EXPECT_GE(found.eq(exact.to(torch::kBFloat16)).to(torch::kFloat32).mean().item<double>(), 0.95);
}

TEST(FewRowsProduct, EqualsTheLibrarys) {
  torch::manual_seed(3);
  for (const std::int64_t length : {1, 7, 16, 48, 100, 577}) {
    for (std::int64_t rows = 1; rows <= kFewRows + 1; ++rows) {
      for (const std::int64_t out : {1, 2, 5, 64}) {
        const Tensor x = torch::randn({rows, length}), w = torch::randn({out, length});
        expect_close(frozen_product(x, w), torch::mm(x, w.t()));
        Tensor y = torch::randn({rows, out});
        const Tensor expected = torch::addmm(y, x, w.t(), 1, 0.5);
        add_frozen_product(y, x, w, 0.5);
        expect_close(y, expected);
      }
    }
  }
}

TEST(FewRowsProduct, TakesRowsThatLieApart) {
  torch::manual_seed(4);
  const Tensor wide = torch::randn({5, 40}), w = torch::randn({9, 40});
  const Tensor x = wide.narrow(1, 8, 16), part = w.narrow(1, 3, 16);
  expect_close(frozen_product(x, part), torch::mm(x, part.t()));
  Tensor out = torch::randn({5, 30});
  const Tensor before = out.clone();
  Tensor columns = out.narrow(1, 4, 9);
  add_frozen_product(columns, x, part, 2.0);
  expect_close(out.narrow(1, 4, 9), torch::addmm(before.narrow(1, 4, 9), x, part.t(), 1, 2.0));
  expect_close(out.narrow(1, 0, 4), before.narrow(1, 0, 4));
  expect_close(out.narrow(1, 13, 17), before.narrow(1, 13, 17));
}

TEST(FewRowsProduct, OtherTypesAndTransposedWeightsAreTheLibrarys) {
  torch::manual_seed(5);
  const Tensor x = torch::randn({3, 24}), w = torch::randn({24, 10});
  expect_close(frozen_product(x, w.t()), torch::mm(x, w));
  const Tensor wide_x = x.to(torch::kFloat64), wide_w = w.t().contiguous().to(torch::kFloat64);
  EXPECT_TRUE(torch::equal(frozen_product(wide_x, wide_w), torch::mm(wide_x, wide_w.t())));
}

TEST(FewRowsProduct, Bfloat16IsRoundedOnceFromFloat32) {
  torch::manual_seed(5);
  for (const std::int64_t length : {1, 7, 48, 577}) {
    for (const std::int64_t rows : {1, 4, 11, 16}) {
      // Rows that lie apart.
      const Tensor x = torch::randn({rows, length + 3}).to(torch::kBFloat16).narrow(1, 2, length),
                   w = torch::randn({9, length + 5}).to(torch::kBFloat16).narrow(1, 1, length);
      const Tensor exact = torch::mm(x.to(torch::kFloat32), w.to(torch::kFloat32).t());
      const Tensor found = frozen_product(x, w);
      ASSERT_EQ(found.scalar_type(), torch::kBFloat16);
      expect_rounded(found, exact);
      Tensor y = torch::randn({rows, 9}).to(torch::kBFloat16);
      const Tensor sum = y.to(torch::kFloat32) + exact * 0.5;
      add_frozen_product(y, x, w, 0.5);
      expect_rounded(y, sum);
    }
  }
}

TEST(FewRowsProduct, ARowDoesNotDependOnTheOthers) {
  torch::manual_seed(6);
  const Tensor x = torch::randn({11, 90}), w = torch::randn({33, 90});
  const Tensor all = next_token_logits(x, w);
  for (std::int64_t row = 0; row < x.size(0); ++row)
    EXPECT_TRUE(torch::equal(next_token_logits(x.narrow(0, row, 1), w)[0], all[row])) << row;
}

}  // namespace
}  // namespace clara::testing
