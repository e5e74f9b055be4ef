// Start values of the added rows.
#include "clara/model/memory_tokens.h"

#include <ATen/CPUGeneratorImpl.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {

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
  const torch::Tensor embedding = base.weights().embedding.to(torch::kFloat32);
  const torch::Device device = embedding.device();
  at::Generator generator = at::detail::createCPUGenerator(derive_seed(seed, "memory_rows"));
  const torch::Tensor noise =
      torch::empty({num_memory + 3, embedding.size(1)}).normal_(0, 1, generator).to(device);
  const torch::Tensor rows = embedding.mean(0) + 0.1 * embedding.std(0) * noise;
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
    tokens.memory_rows =
        embedding.index_select(0, torch::tensor(ids, torch::kInt64).to(device)).clone();
  } else if (memory_init != "noise") {
    throw ConfigError("model.memory_init: expected noise or tokens, found " + memory_init);
  }
  if (!base.config().tie_word_embeddings) {
    tokens.head_rows = base.weights()
                           .head.to(torch::kFloat32)
                           .mean(0, /*keepdim=*/true)
                           .repeat({num_memory + 3, 1})
                           .contiguous();
  }
  return tokens;
}

}  // namespace clara
