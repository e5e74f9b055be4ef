// What is stored depends on each document alone, to the bit, whether documents share batches or
// not.
#include "latents/repeatable_encoder.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {
namespace {

using torch::Tensor;

constexpr std::int64_t kTokens = 8192;  // a batch's, at most

/// Documents of 1 to 40 tokens and their memory tokens.
std::vector<TokenIds> documents_of_many_lengths(const ClaraModel& model) {
  std::vector<TokenIds> documents;
  for (std::int32_t length = 1; length <= 40; ++length) {
    TokenIds& document = documents.emplace_back();
    for (std::int32_t i = 0; i < length; ++i) document.push_back(1 + (7 * i + length) % 11);
    for (std::int32_t m = 0; m < kTinyNumMemory; ++m)
      document.push_back(static_cast<std::int32_t>(model.base().config().vocab_rows) + m);
  }
  return documents;
}

std::vector<const TokenIds*> pointers_to_all(const std::vector<TokenIds>& documents) {
  std::vector<const TokenIds*> pointers;
  for (const TokenIds& document : documents) pointers.push_back(&document);
  return pointers;
}

/// While it lives: counts the products, and adds to the input of those of more rows than `limit`.
class Products {
 public:
  explicit Products(std::int64_t limit = std::int64_t{1} << 62) {
    num_ = 0;
    limit_ = limit;
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback(on_product)
                                        .needsInputs(true)
                                        .scopes({at::RecordScope::FUNCTION}));
  }
  ~Products() { at::removeCallback(handle_); }
  std::int64_t count() const { return num_; }

 private:
  static std::unique_ptr<at::ObserverContext> on_product(const at::RecordFunction& function) {
    if (std::string_view(function.name()) != "aten::mm") return nullptr;
    ++num_;
    const Tensor& input = function.inputs()[0].toTensor();
    if (input.size(0) > limit_) input.add_(0.01);
    return nullptr;
  }
  static inline std::atomic<std::int64_t> num_, limit_;
  at::CallbackHandle handle_;
};

class RepeatableEncoding : public ::testing::TestWithParam<torch::Dtype> {};

TEST_P(RepeatableEncoding, GivesEveryDocumentTheBitsThatItHasAlone) {
  const auto model = tiny_model({.dtype = GetParam()});
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  std::vector<const TokenIds*> asked = pointers_to_all(documents);
  const Tensor alone = RepeatableEncoder(*model, kTokens, false).encode(asked);
  EXPECT_FALSE(alone.requires_grad());
  EXPECT_EQ(alone.scalar_type(), GetParam());
  RecordProperty("shares_batches", batches_keep_bits(*model) ? 1 : 0);
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(RepeatableEncoder(*model, kTokens).encode(asked), alone)) << threads;
    at::set_num_threads(1);
  }
  std::reverse(asked.begin(), asked.end());
  EXPECT_TRUE(torch::equal(RepeatableEncoder(*model, kTokens).encode(asked).flip(0), alone));
}

TEST_P(RepeatableEncoding, SharedBatchesAreTheSameUpToRounding) {
  const auto model = tiny_model({.dtype = GetParam()});
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  const std::vector<const TokenIds*> asked = pointers_to_all(documents);
  const Products products;
  const Tensor alone = RepeatableEncoder(*model, kTokens, false).encode(asked);
  const std::int64_t num_alone = products.count();
  const Tensor shared = RepeatableEncoder(*model, kTokens, true).encode(asked);
  EXPECT_LT(products.count() - num_alone, num_alone / 10) << "they do share";
  for (std::int64_t i = 0; i < alone.size(0); ++i) {
    EXPECT_LT(relative_error(shared[i].to(torch::kFloat32), alone[i].to(torch::kFloat32)),
              GetParam() == torch::kFloat32 ? 1e-5 : 0.02)
        << documents[static_cast<std::size_t>(i)].size() << " tokens";
  }
}

TEST_P(RepeatableEncoding, WhereMoreRowsChangeAProductEveryDocumentIsEncodedAlone) {
  const auto model = tiny_model({.dtype = GetParam()});
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  const std::vector<const TokenIds*> asked = pointers_to_all(documents);
  const Tensor alone = RepeatableEncoder(*model, kTokens, false).encode(asked);
  for (const std::int64_t rows : {60, 200, 350, 450, 490}) {
    const Products changed_by_rows(rows);
    EXPECT_FALSE(batches_keep_bits(*model)) << rows;
    EXPECT_FALSE(torch::equal(RepeatableEncoder(*model, kTokens, true).encode(asked), alone));
    EXPECT_TRUE(torch::equal(RepeatableEncoder(*model, kTokens).encode(asked), alone)) << rows;
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RepeatableEncoding,
                         ::testing::Values(torch::kFloat32, torch::kBFloat16),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

TEST(RepeatableEncoder, AsksOnceAndOnlyWhereItMatters) {
  const auto model = tiny_model();
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  RepeatableEncoder encoder(*model, kTokens);
  const Products products;
  std::int64_t before = 0;
  const auto products_of = [&](const std::vector<const TokenIds*>& asked) {
    encoder.encode(asked);
    return products.count() - std::exchange(before, products.count());
  };
  const std::int64_t of_one = products_of({&documents[3]});
  EXPECT_EQ(products_of({&documents[4]}), of_one);
  const std::int64_t first = products_of({&documents[3], &documents[4]}),
                     second = products_of({&documents[5], &documents[6]});
  EXPECT_LE(second, 2 * of_one);
  EXPECT_GT(first, second + 20 * of_one / 2) << "the one that asks";
}

TEST(RepeatableEncoder, KeepsToTheTokensOfABatch) {
  const auto model = tiny_model();
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  const std::vector<const TokenIds*> asked = pointers_to_all(documents);
  const Products products;
  RepeatableEncoder(*model, kTokens, true).encode(asked);
  const std::int64_t of_large = products.count();
  RepeatableEncoder(*model, 64, true).encode(asked);
  EXPECT_GT(products.count() - of_large, 4 * of_large);
}

struct Family {
  const char* name;
  TinyModelOptions options;
};
class RepeatableEncodingOf : public ::testing::TestWithParam<Family> {};

TEST_P(RepeatableEncodingOf, EveryFamilyGivesTheBitsOfEachAlone) {
  for (const torch::Dtype dtype : {torch::kFloat32, torch::kBFloat16}) {
    TinyModelOptions options = GetParam().options;
    options.dtype = dtype;
    const auto model = tiny_model(options);
    const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
    const std::vector<const TokenIds*> asked = pointers_to_all(documents);
    EXPECT_TRUE(torch::equal(RepeatableEncoder(*model, kTokens).encode(asked),
                             RepeatableEncoder(*model, kTokens, false).encode(asked)));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, RepeatableEncodingOf,
                         ::testing::Values(Family{"untied", {.tied = false}},
                                           Family{"qwen2", {.qkv_bias = true}},
                                           Family{"qwen3", {.qk_norm = true}},
                                           Family{"phi3", {.phi3 = true}}),
                         [](const auto& family) { return std::string(family.param.name); });

TEST(RepeatableEncoder, AnAdapterOfSomeLayersIsAskedAboutThose) {
  const BaseConfig config = tiny_config();
  for (const std::vector<std::string>& targets :
       {std::vector<std::string>{"q_proj", "v_proj"},
        std::vector<std::string>{"model.layers.1.mlp.down_proj"}}) {
    LoraSettings lora = tiny_lora();
    lora.target_modules = targets;
    const ClaraModel model(BaseLlm(config, tiny_weights(config)), lora, kTinyNumMemory, "noise", 1);
    const std::vector<TokenIds> documents = documents_of_many_lengths(model);
    const std::vector<const TokenIds*> asked = pointers_to_all(documents);
    EXPECT_TRUE(torch::equal(RepeatableEncoder(model, kTokens).encode(asked),
                             RepeatableEncoder(model, kTokens, false).encode(asked)));
  }
}

}  // namespace
}  // namespace clara::testing
