// The warm-up term against its equation.
#include "clara/objectives/loss_terms.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {
namespace {

using torch::Tensor;

TEST(LatentTokenLoss, IsItsEquation) {
  const auto model = tiny_model();
  // Text longer than, as long as, and shorter than the memory, and none at all.
  SeedStream stream(8);
  std::vector<TokenIds> documents;
  for (const std::int64_t length : {11, 4, 2, 1, 0})
    documents.push_back(compressor_input(tiny_text(stream, length)));
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& document : documents) pointers.push_back(&document);
  const Tensor idf = torch::rand({model->base().config().vocab_rows}) + 0.1;
  const std::vector<float> rarities(idf.data_ptr<float>(), idf.data_ptr<float>() + idf.numel());
  for (const auto& [target, weights] :
       {std::pair{LatentTokenTarget::kSpan, std::vector<float>{}},
        std::pair{LatentTokenTarget::kDocument, std::vector<float>{}},
        std::pair{LatentTokenTarget::kSpan, rarities},
        std::pair{LatentTokenTarget::kDocument, rarities}}) {
    const Tensor latents = torch::randn({5, kTinyNumMemory, kTinyWidth}).set_requires_grad(true);
    const Tensor wide = latents.detach().to(torch::kFloat64).set_requires_grad(true);
    const Tensor head = model->base().weights().head.to(torch::kFloat64);

    Tensor expected = torch::zeros({}, torch::kFloat64);
    for (std::size_t n = 0; n < documents.size(); ++n) {
      // Without <ENC>, BOS in front and EOS, memory tokens behind.
      const TokenIds text(documents[n].begin() + 2, documents[n].end() - 1 - kTinyNumMemory);
      const auto length = static_cast<std::int64_t>(text.size());
      if (length == 0) continue;
      for (std::int64_t j = 0; j < kTinyNumMemory; ++j) {
        const Tensor log_p =
            torch::log_softmax(torch::mv(head, wide[static_cast<std::int64_t>(n)][j]), 0);
        const bool whole = target == LatentTokenTarget::kDocument;
        const std::int64_t first = whole ? 0 : j * length / kTinyNumMemory;
        const std::int64_t end =
            whole ? length : std::max((j + 1) * length / kTinyNumMemory, first + 1);
        Tensor sum = torch::zeros({}, torch::kFloat64);
        double sum_of_weights = 0;
        for (std::int64_t t = first; t < end; ++t) {
          const auto token = static_cast<std::size_t>(text[static_cast<std::size_t>(t)]);
          const double weight = weights.empty() ? 1 : weights[token];
          sum = sum - weight * log_p[static_cast<std::int64_t>(token)];
          sum_of_weights += weight;
        }
        expected = expected + sum / (sum_of_weights * static_cast<double>(kTinyNumMemory));
      }
    }
    const Tensor found =
        latent_token_loss(*model, latents, pointers, {target, kTinyBos, kTinyEos, weights});
    EXPECT_TRUE(all_close(found, expected.to(torch::kFloat32), 1e-5));
    found.backward();
    expected.backward();
    EXPECT_TRUE(all_close(latents.grad(), wide.grad().to(torch::kFloat32), 1e-5));
  }
}

TEST(LatentTokenLoss, DocumentsWithoutTextHaveNone) {
  const auto model = tiny_model();
  const TokenIds empty = compressor_input({});
  for (const LatentTokenTarget target : {LatentTokenTarget::kSpan, LatentTokenTarget::kDocument}) {
    const Tensor latents = torch::randn({1, kTinyNumMemory, kTinyWidth});
    EXPECT_EQ(latent_token_loss(*model, latents, {&empty}, {target, kTinyBos, kTinyEos, {}})
                  .item<float>(),
              0);
  }
}

TEST(LatentTokenLoss, TextStandsAloneWhereTheBaseHasNoBos) {
  const auto model = tiny_model();
  const Tensor latents = torch::randn({1, kTinyNumMemory, kTinyWidth});
  SeedStream stream(9);
  const TokenIds text = tiny_text(stream, 6), with = compressor_input(text);
  TokenIds without = with;
  without.erase(without.begin() + 1);
  const auto loss = [&](const TokenIds& document, TokenId bos_id) {
    return latent_token_loss(*model, latents, {&document},
                             {LatentTokenTarget::kSpan, bos_id, kTinyEos, {}})
        .item<float>();
  };
  EXPECT_EQ(loss(with, kTinyBos), loss(without, -1));
}

}  // namespace
}  // namespace clara::testing
