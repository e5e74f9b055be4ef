// What is stored depends on each document alone, to the bit, whether documents share batches or not.
#include "latents/repeatable_encoder.h"

#include <atomic>
#include <string_view>

#include "tests/support/tensor_compare.h"
#include "tests/support/tiny_model.h"
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {
namespace {

using torch::Tensor;

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
  const Tensor alone = RepeatableEncoder(*model, false).encode(asked);
  EXPECT_FALSE(alone.requires_grad());
  EXPECT_EQ(alone.scalar_type(), GetParam());
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    EXPECT_TRUE(torch::equal(RepeatableEncoder(*model).encode(asked), alone)) << threads;
    at::set_num_threads(1);
  }
  std::reverse(asked.begin(), asked.end());
  EXPECT_TRUE(torch::equal(RepeatableEncoder(*model).encode(asked).flip(0), alone));
}

TEST_P(RepeatableEncoding, SharedBatchesAreTheSameUpToRounding) {
  const auto model = tiny_model({.dtype = GetParam()});
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  const std::vector<const TokenIds*> asked = pointers_to_all(documents);
  const Products products;
  const Tensor alone = RepeatableEncoder(*model, false).encode(asked);
  const std::int64_t num_alone = products.count();
  const Tensor shared = RepeatableEncoder(*model, true).encode(asked);
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
  const Tensor alone = RepeatableEncoder(*model, false).encode(asked);
  const Products changed_by_rows(/*limit=*/200);
  EXPECT_FALSE(batches_keep_bits(*model));
  EXPECT_FALSE(torch::equal(RepeatableEncoder(*model, true).encode(asked), alone));
  EXPECT_TRUE(torch::equal(RepeatableEncoder(*model).encode(asked), alone));
}

INSTANTIATE_TEST_SUITE_P(Dtypes, RepeatableEncoding,
                         ::testing::Values(torch::kFloat32, torch::kBFloat16),
                         [](const auto& dtype) { return std::string(c10::toString(dtype.param)); });

TEST(RepeatableEncoder, AsksOnlyWhereItMatters) {
  const auto model = tiny_model();
  const std::vector<TokenIds> documents = documents_of_many_lengths(*model);
  RepeatableEncoder encoder(*model);
  const Products products;
  encoder.encode({&documents[3]});
  const std::int64_t of_one = products.count();
  encoder.encode({&documents[4]});
  EXPECT_EQ(products.count(), 2 * of_one);
}

}  // namespace
}  // namespace clara::testing
