// Small batches, each on one thread.
#include "latents/repeatable_encoder.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/latents/document_latents.h"

namespace clara {
namespace {

/// Tokens of a batch: enough that products earn what the library spends on bringing weights into
/// its layout (SmolLM2-135M: 128 tokens take twice as long, 2,048 as long as 512).
constexpr std::int64_t kBatchTokens = 512;

/// Latents [N, M, D] of one batch.
torch::Tensor encode_batch(const ClaraModel& model, std::vector<const TokenIds*> sequences) {
  std::size_t num_tokens = 0;
  for (const TokenIds* sequence : sequences) num_tokens += sequence->size();
  TokenIds filler;
  if (model.base().dtype() == torch::kBFloat16)
    filler.assign((kRowsMultiple - num_tokens % kRowsMultiple) % kRowsMultiple, 0);
  if (!filler.empty()) sequences.push_back(&filler);
  return model.encode(AdapterRole::kCompressor, model.pack(sequences), {}, filler.empty() ? 0 : 1);
}

/// Batches, each encoded on one thread.
torch::Tensor encode_batches(const ClaraModel& model, const std::vector<const TokenIds*>& documents,
                             const std::vector<std::vector<std::size_t>>& batches) {
  torch::Tensor result = torch::empty({std::ssize(documents), model.num_memory(),
                                       model.base().config().hidden_size},
                                      torch::dtype(model.base().dtype()));
  std::atomic<std::size_t> next{0};
  // One range a thread: inside it every operation stays on its thread, also where one batch is all
  // there is.
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
    const torch::NoGradGuard no_grad;
    for (; begin < end; ++begin) {
      for (std::size_t b = next++; b < batches.size(); b = next++) {
        std::vector<const TokenIds*> sequences;
        for (const std::size_t place : batches[b]) sequences.push_back(documents[place]);
        const torch::Tensor latents = encode_batch(model, sequences);
        for (std::size_t i = 0; i < batches[b].size(); ++i)
          result[static_cast<std::int64_t>(batches[b][i])].copy_(
              latents[static_cast<std::int64_t>(i)]);
      }
    }
  });
  return result;
}

/// A model of the same shapes, dtype and base weights with the first block alone. Its adapters are
/// random, both halves: those that add nothing would show nothing.
ClaraModel first_block_of(const ClaraModel& model) {
  BaseConfig config = model.base().config();
  config.num_layers = 1;
  BaseWeights weights = model.base().weights();
  weights.layers.resize(1);
  LoraSettings lora = model.adapter(AdapterRole::kCompressor).settings();
  lora.target_modules.clear();
  ClaraModel block(BaseLlm(config, weights), lora, model.num_memory(), "noise", 1);
  const torch::NoGradGuard no_grad;
  at::Generator generator = at::detail::createCPUGenerator(1);
  for (const NamedTensor& named : block.adapter(AdapterRole::kCompressor).named_tensors())
    torch::Tensor(named.tensor).normal_(0.0, 0.1, generator);
  return block;
}

/// Documents of several lengths that share one batch in more than one order.
std::vector<TokenIds> probe_documents(const ClaraModel& model) {
  const BaseConfig& config = model.base().config();
  const std::int64_t vocab = config.vocab_rows,
                     longest = config.longest_sequence() - model.num_memory();
  std::vector<TokenIds> documents;
  std::int64_t token = 1;
  for (const std::int64_t length : {3, 130, 17, 64, 101, 32, 9}) {
    TokenIds& document = documents.emplace_back();
    for (std::int64_t i = 0; i < std::min(length, longest); ++i) {
      token = (token * 48271 + 11) % 2147483647;
      document.push_back(static_cast<TokenId>(token % vocab));
    }
    for (std::int64_t m = 0; m < model.num_memory(); ++m)
      document.push_back(static_cast<TokenId>(vocab + m));
  }
  return documents;
}

}  // namespace

bool batches_keep_bits(const ClaraModel& model) {
  const torch::NoGradGuard no_grad;
  const ClaraModel block = first_block_of(model);
  const std::vector<TokenIds> texts = probe_documents(model);
  std::vector<const TokenIds*> documents;
  std::vector<std::vector<std::size_t>> alone;
  std::vector<std::size_t> forwards;
  for (const TokenIds& text : texts) {
    forwards.push_back(documents.size());
    alone.push_back({documents.size()});
    documents.push_back(&text);
  }
  const std::vector<std::size_t> backwards(forwards.rbegin(), forwards.rend());
  const torch::Tensor expected = encode_batches(block, documents, alone);
  return torch::equal(encode_batches(block, documents, {forwards}), expected) &&
         torch::equal(encode_batches(block, documents, {backwards}), expected);
}

torch::Tensor RepeatableEncoder::encode(const std::vector<const TokenIds*>& documents) {
  if (documents.size() > 1 && !share_batches_) share_batches_ = batches_keep_bits(model_);
  std::int64_t num_tokens = 0;
  for (const TokenIds* document : documents) num_tokens += std::ssize(*document);
  // No thread waits for work that another one has in its batch.
  const std::int64_t threads = at::get_num_threads(),
                     limit = std::min(kBatchTokens, (num_tokens + threads - 1) / threads);
  return encode_batches(model_, documents,
                        batches_by_length(documents, share_batches_.value_or(false) ? limit : 0));
}

}  // namespace clara
