// LongRoPE against values of transformers (tests/fixtures/longrope), on both sides of its limit.
#include <filesystem>
#include <fstream>

#include "tests/support/tensor_compare.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/tensor_file.h"
#include "clara/model/base_llm.h"

namespace clara::testing {
namespace {

using torch::Tensor;

constexpr double kForward = 2e-4;  // of the largest value (numerics §8)
constexpr std::int64_t kLimit = 12;

class LongRope : public ::testing::Test {
 protected:
  /// States of the fixture's first tokens, in sequences of these lengths.
  Tensor states(const std::vector<std::int64_t>& lengths) const {
    const torch::NoGradGuard no_grad;
    std::vector<Tensor> ids;
    for (const std::int64_t length : lengths)
      ids.push_back(expected.at("ids").narrow(0, 0, length));
    return base.forward(base.weights().embedding.index_select(0, torch::cat(ids)),
                        std::make_shared<PackedLayout>(lengths, torch::kCPU), nullptr);
  }
  Tensor recorded(std::int64_t length) const {
    return expected.at("states." + std::to_string(length));
  }

  std::filesystem::path folder = CLARA_SOURCE_DIR "/tests/fixtures/longrope";
  std::map<std::string, Tensor> expected = load_tensors(folder / "expected.safetensors");
  BaseLlm base = load_base_llm(folder, torch::kFloat32, torch::kCPU);
};

TEST_F(LongRope, FrequenciesAndAttentionFactorAreThoseOfTransformers) {
  const BaseConfig& config = base.config();
  EXPECT_EQ(config.rope.kind, RopeConfig::Kind::kLongRope);
  EXPECT_EQ(base.rotary_limit(), kLimit);
  EXPECT_NEAR(config.rope.attention_factor, expected.at("attention_factor").item<double>(), 1e-6);
  for (const bool is_long : {false, true}) {
    EXPECT_TRUE(all_close(
        rotary_inverse_frequencies(config.rope, config.head_dim, is_long),
        expected.at(is_long ? "inverse_frequencies.long" : "inverse_frequencies.short"), 1e-6));
  }
}

TEST_F(LongRope, ASequenceOnEitherSideOfTheLimitIsWhatTransformersComputes) {
  for (const std::int64_t length : {std::int64_t{5}, kLimit, kLimit + 1, std::int64_t{24}}) {
    SCOPED_TRACE(length);
    EXPECT_TRUE(all_close(states({length}), recorded(length), kForward));
  }
  // The fixture tells the two apart: the same tokens, one sequence a token longer.
  EXPECT_GT(relative_error(recorded(kLimit + 1).narrow(0, 0, kLimit), recorded(kLimit)), 0.05);
}

TEST_F(LongRope, TheLimitIsThatOfEachSequenceNotOfTheBatch) {
  EXPECT_TRUE(all_close(
      states({24, 5, kLimit + 1, kLimit}),
      torch::cat({recorded(24), recorded(5), recorded(kLimit + 1), recorded(kLimit)}), kForward));
}

TEST_F(LongRope, DecodingBeyondTheLimitGoesOnWithTheLongFactors) {
  const torch::NoGradGuard no_grad;
  const Tensor embeddings =
      base.weights().embedding.index_select(0, expected.at("ids").narrow(0, 0, 24));
  KvCache cache(base.config(), 1, 24, torch::dtype(torch::kFloat32));
  const auto layout =
      std::make_shared<PackedLayout>(std::vector<std::int64_t>{kLimit + 1}, torch::kCPU);
  base.forward(embeddings.narrow(0, 0, kLimit + 1), layout, nullptr, {}, &cache);
  for (std::int64_t position = kLimit + 1; position < 24; ++position) {
    const Tensor state = base.forward_next(embeddings.narrow(0, position, 1),
                                           torch::tensor({position}), position + 1, nullptr, cache);
    EXPECT_TRUE(all_close(state[0], recorded(24)[position], kForward)) << position;
  }
}

}  // namespace
}  // namespace clara::testing
