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
      }
    }
  }
}

TEST(FewRowsProduct, TakesRowsThatLieApart) {
  torch::manual_seed(4);
  const Tensor wide = torch::randn({5, 40}), w = torch::randn({9, 40});
  const Tensor x = wide.narrow(1, 8, 16), part = w.narrow(1, 3, 16);
  expect_close(frozen_product(x, part), torch::mm(x, part.t()));
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

/// Three layers as a block has them: one without bias, one with, one that is not adapted.
std::vector<AdaptedLinear> some_layers(std::int64_t in, torch::Dtype dtype) {
  std::vector<AdaptedLinear> layers;
  for (const std::int64_t out : {37, 8, 64}) {
    AdaptedLinear& layer = layers.emplace_back();
    layer.weight = torch::randn({out, in}).to(dtype);
    if (out != 37) layer.bias = torch::randn({out}).to(dtype);
    if (out != 64) layer.lora = {torch::randn({6, in}), torch::randn({out, 6})};
  }
  return layers;
}

Tensor exact_result(const Tensor& x, const AdaptedLinear& layer, double scale) {
  const auto exact = [&](const Tensor& t) { return t.to(x.dtype()).to(torch::kFloat64); };
  Tensor y = torch::mm(exact(x), exact(layer.weight).t());
  if (layer.bias.defined()) y += exact(layer.bias);
  if (layer.lora.defined())
    y += scale * exact(x).mm(exact(layer.lora.a).t()).mm(exact(layer.lora.b).t());
  return y.to(torch::kFloat32);
}

TEST(DecodingLinear, ComputesLayersWithTheirAdaptersAtEveryNumberOfRows) {
  torch::manual_seed(7);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    for (const std::int64_t in : {5, 90}) {
      const std::vector<AdaptedLinear> layers = some_layers(in, dtype);
      for (std::int64_t rows = 1; rows <= kFewRows; ++rows) {
        const Tensor x = torch::randn({rows, in}).to(dtype);
        const std::vector<Tensor> found = decoding_linear(x, layers, 2.0);
        ASSERT_EQ(found.size(), layers.size());
        for (std::size_t i = 0; i < layers.size(); ++i) {
          ASSERT_EQ(found[i].scalar_type(), dtype);
          const Tensor exact = exact_result(x, layers[i], 2.0);
          if (dtype == torch::kFloat32) {
            expect_close(found[i], exact);
          } else {
            expect_rounded(found[i], exact);
          }
        }
      }
    }
  }
}

TEST(DecodingLinear, ARowDoesNotDependOnTheOthers) {
  torch::manual_seed(10);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    const std::vector<AdaptedLinear> layers = some_layers(83, dtype);
    const Tensor x = torch::randn({kFewRows, 83}).to(dtype);
    const std::vector<Tensor> all = decoding_linear(x, layers, 2.0);
    // Every way in which rows are taken together.
    for (std::int64_t rows = 1; rows < kFewRows; ++rows) {
      const std::vector<Tensor> some = decoding_linear(x.narrow(0, 1, rows), layers, 2.0);
      for (std::size_t i = 0; i < layers.size(); ++i)
        EXPECT_TRUE(torch::equal(some[i], all[i].narrow(0, 1, rows))) << rows << ", layer " << i;
    }
  }
}

TEST(DecodingLinear, HoweverManyThreadsShareItTheBitsAreTheSame) {
  const int threads = at::get_num_threads();
  torch::manual_seed(11);
  for (const auto dtype : {torch::kFloat32, torch::kBFloat16}) {
    // So much work that threads take a hundred results each, in the midst of a layer's.
    std::vector<AdaptedLinear> layers;
    for (const std::int64_t out : {301, 64, 150}) {
      layers.push_back({torch::randn({out, 1100}).to(dtype),
                        {},
                        {torch::randn({20, 1100}), torch::randn({out, 20})}});
    }
    const Tensor x = torch::randn({kFewRows, 1100}).to(dtype);
    at::set_num_threads(1);
    const std::vector<Tensor> alone = decoding_linear(x, layers, 2.0);
    for (const int shared_by : {2, 3, 4}) {
      at::set_num_threads(shared_by);
      const std::vector<Tensor> together = decoding_linear(x, layers, 2.0);
      for (std::size_t i = 0; i < layers.size(); ++i)
        EXPECT_TRUE(torch::equal(together[i], alone[i])) << shared_by << " threads, layer " << i;
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const Tensor exact = exact_result(x, layers[i], 2.0);
      EXPECT_LE((alone[i].to(torch::kFloat32) - exact).abs().max().item<double>(),
                exact.abs().max().item<double>() / (dtype == torch::kFloat32 ? 1e5 : 256.0));
    }
  }
  at::set_num_threads(threads);
}

TEST(DecodingLinear, ManyRowsAreTheLibrarys) {
  torch::manual_seed(8);
  const std::vector<AdaptedLinear> layers = some_layers(24, torch::kFloat32);
  const Tensor x = torch::randn({kFewRows + 1, 24});
  const std::vector<Tensor> found = decoding_linear(x, layers, 0.5);
  for (std::size_t i = 0; i < layers.size(); ++i)
    expect_close(found[i], exact_result(x, layers[i], 0.5));
}

TEST(DecodingLinear, AnAdapterRoundedBeforehandGivesTheSameBits) {
  torch::manual_seed(9);
  std::vector<AdaptedLinear> layers = some_layers(48, torch::kBFloat16);
  const Tensor x = torch::randn({3, 48}).to(torch::kBFloat16);
  const std::vector<Tensor> before = decoding_linear(x, layers, 2.0);
  for (AdaptedLinear& layer : layers) {
    if (layer.lora.defined())
      layer.lora = {layer.lora.a.to(torch::kBFloat16), layer.lora.b.to(torch::kBFloat16)};
  }
  const std::vector<Tensor> after = decoding_linear(x, layers, 2.0);
  for (std::size_t i = 0; i < layers.size(); ++i) EXPECT_TRUE(torch::equal(before[i], after[i]));
}

}  // namespace
}  // namespace clara::testing
