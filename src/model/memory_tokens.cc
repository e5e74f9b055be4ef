// Start values of the added rows.
#include "clara/model/memory_tokens.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {

namespace {

/// Rows converted at a time: statistics of a large vocabulary must not need a float copy of it.
constexpr std::int64_t kRowsAtATime = 2048;

/// Mean [D] of the rows of a matrix [V, D], float64.
torch::Tensor column_means(const torch::Tensor& matrix) {
  torch::Tensor sum = torch::zeros({matrix.size(1)}, matrix.options().dtype(torch::kFloat64));
  for (const torch::Tensor& rows : matrix.split(kRowsAtATime))
    sum += rows.sum(0, /*keepdim=*/false, torch::kFloat64);
  return sum / static_cast<double>(matrix.size(0));
}

/// Standard deviation [D] of the columns, float64.
torch::Tensor column_deviations(const torch::Tensor& matrix, const torch::Tensor& means) {
  torch::Tensor sum = torch::zeros_like(means);
  for (const torch::Tensor& rows : matrix.split(kRowsAtATime))
    sum += (rows.to(torch::kFloat64) - means).square_().sum(0);
  return (sum / static_cast<double>(matrix.size(0) - 1)).sqrt_();
}

}  // namespace

torch::Tensor MemoryTokens::embedding_rows() const {
  return torch::cat({memory_rows.expand({num_memory(), memory_rows.size(1)}), fixed_rows});
}

torch::Tensor MemoryTokens::output_rows() const {
  return head_rows.defined() ? head_rows : torch::cat({memory_rows, fixed_rows});
}

void share_memory_row(MemoryTokens& tokens, std::int64_t num_memory) {
  const std::int64_t width = tokens.memory_rows.size(1);
  tokens.memory_rows = torch::zeros({1, width}, tokens.memory_rows.options());
  if (tokens.head_rows.defined())
    tokens.head_rows = torch::zeros({4, width}, tokens.head_rows.options());
  tokens.num_sharing = num_memory;
}

MemoryTokens init_memory_tokens(const BaseLlm& base, std::int64_t num_memory,
                                const std::string& memory_init, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor& embedding = base.weights().embedding;
  const torch::Device device = embedding.device();
  at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, "memory_rows"));
  const torch::Tensor noise =
      torch::empty({num_memory + 3, embedding.size(1)}).normal_(0, 1, generator).to(device);
  const torch::Tensor means = column_means(embedding);
  const torch::Tensor rows =
      (means + 0.1 * column_deviations(embedding, means) * noise).to(torch::kFloat32);
  MemoryTokens tokens;
  tokens.memory_rows = rows.narrow(0, 0, num_memory).clone();
  tokens.fixed_rows = rows.narrow(0, num_memory, 3).clone();
  if (memory_init == "tokens") {
    SeedStream stream(derive_seed(seed, "memory_row_tokens"));
    std::vector<std::int64_t> ids;
    for (std::int64_t j = 0; j < num_memory; ++j) {
      ids.push_back(
          static_cast<std::int64_t>(stream.below(static_cast<std::uint64_t>(embedding.size(0)))));
    }
    tokens.memory_rows = embedding.index_select(0, torch::tensor(ids, torch::kInt64).to(device))
                             .to(torch::kFloat32, /*non_blocking=*/false, /*copy=*/true);
  } else if (memory_init != "noise") {
    throw ConfigError("model.memory_init: expected noise or tokens, found " + memory_init);
  }
  if (!base.config().tie_word_embeddings) {
    tokens.head_rows =
        column_means(base.weights().head).to(torch::kFloat32).repeat({num_memory + 3, 1});
  }
  return tokens;
}

}  // namespace clara
