// Principal components of vectors: what they keep, from samples of either shape.
#include "retrieval/vector_reduction.h"

#include <cstdint>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr std::int64_t kDimension = 40, kRank = 6;

/// Vectors whose differences lie in kRank directions, far from the origin.
torch::Tensor flat_vectors(std::int64_t count) {
  torch::manual_seed(2);
  const torch::Tensor directions = torch::randn({kRank, kDimension});
  const torch::Tensor mean = 5 * torch::randn({kDimension});
  return mean + torch::mm(torch::randn({count, kRank}), directions);
}

TEST(VectorReduction, ScoresAreTheInnerProductsButForOneNumberAQuery) {
  const torch::Tensor queries = torch::randn({7, kDimension});
  for (const std::int64_t sample : {std::int64_t{20}, std::int64_t{200}}) {  // fewer rows, and more
    const torch::Tensor vectors = flat_vectors(sample);
    const VectorReduction reduction = VectorReduction::principal_components(vectors.clone(), kRank);
    EXPECT_EQ(reduction.dimension(), kRank);
    const torch::Tensor reduced =
        torch::mm(reduction.queries(queries), reduction.passages(vectors).t());
    const torch::Tensor missing = torch::mm(queries, vectors.t()) - reduced;
    const torch::Tensor spread = missing.amax(1) - missing.amin(1);
    EXPECT_LT(spread.max().item<float>(), 1e-3) << sample;
    EXPECT_GT(missing.abs().max().item<float>(), 1.0) << sample;
  }
}

TEST(VectorReduction, ComponentsThatASampleDoesNotHaveAreNothing) {
  const torch::Tensor vectors = flat_vectors(20);
  const VectorReduction reduction =
      VectorReduction::principal_components(vectors.clone(), 2 * kRank);
  const torch::Tensor reduced = reduction.passages(vectors);
  EXPECT_TRUE(torch::isfinite(reduced).all().item<bool>());
  EXPECT_LT(reduced.narrow(1, kRank, kRank).abs().max().item<float>(),
            1e-2 * reduced.abs().max().item<float>());
  // The first components keep all lengths.
  const torch::Tensor lengths = (vectors - vectors.mean(0)).norm(2, 1);
  EXPECT_LT((reduced.norm(2, 1) - lengths).abs().max().item<float>(), 1e-2);
}

TEST(VectorReduction, TheFileGivesItBackOrIsNamed) {
  const TemporaryFolder folder;
  const torch::Tensor vectors = flat_vectors(30);
  const VectorReduction reduction = VectorReduction::principal_components(vectors.clone(), kRank);
  reduction.write(folder.path());
  EXPECT_TRUE(
      torch::equal(VectorReduction::read(folder.path(), kRank, kDimension).passages(vectors),
                   reduction.passages(vectors)));
  EXPECT_THAT(data_error_of([&] { VectorReduction::read(folder.path(), kRank + 1, kDimension); }),
              AllOf(HasSubstr("reduction.safetensors"), HasSubstr("components"),
                    HasSubstr("[7, 40]"), HasSubstr("[6, 40]")));
  VectorReduction::remove(folder.path());
  EXPECT_THAT(data_error_of([&] { VectorReduction::read(folder.path(), kRank, kDimension); }),
              HasSubstr("not found"));
}

}  // namespace
}  // namespace clara
