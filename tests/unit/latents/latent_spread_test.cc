// The two measures of collapse on latents whose spread is known.
#include "clara/latents/latent_spread.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara {
namespace {

TEST(LatentSpread, OfEqualDocumentsIsCollapse) {
  const torch::Tensor one = torch::randn({1, 3, 5}, torch::kFloat64);
  const LatentSpread spread = latent_spread(one.repeat({4, 1, 1}));
  EXPECT_NEAR(spread.mean_cosine, 1.0, 1e-6);
  EXPECT_NEAR(spread.between_variance, 0.0, 1e-9);
  const LatentSpread alone = latent_spread(one);
  EXPECT_EQ(alone.mean_cosine, 1.0);
  EXPECT_EQ(alone.between_variance, 0.0);
}

TEST(LatentSpread, IsTheMeanCosineOfAllPairs) {
  // Unit vectors at 0, 90 and 180 degrees: cosines 0, −1, 0.
  const torch::Tensor latents =
      torch::tensor({{1.0, 0.0}, {0.0, 2.0}, {-3.0, 0.0}}).view({3, 1, 2});
  EXPECT_NEAR(latent_spread(latents).mean_cosine, -1.0 / 3, 1e-6);
}

TEST(LatentSpread, VarianceBetweenDocumentsIsAllWhereTheMemoryTokensAgree) {
  // Memory tokens of a document are equal, documents differ around a common mean.
  const torch::Tensor latents = torch::tensor({{1.0, -1.0}, {-1.0, 1.0}}).view({2, 1, 2});
  EXPECT_NEAR(latent_spread(latents.repeat({1, 3, 1})).between_variance, 1.0, 1e-6);
}

}  // namespace
}  // namespace clara
