// Small batches, each on one thread.
#include "latents/repeatable_encoder.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "clara/latents/document_latents.h"

namespace clara {
namespace {

using Batches = std::vector<std::vector<std::size_t>>;

/// Tokens of a batch: enough that products earn what the library spends on bringing weights into
/// its layout (SmolLM2-135M: batches of 128 tokens take twice as long, of 2,048 as long as of 512).
constexpr std::int64_t kBatchTokens = 512;

std::int64_t rows_to_fill(std::int64_t num_rows, torch::Dtype dtype) {
  if (dtype != torch::kBFloat16) return 0;
  return (kRowsMultiple - num_rows % kRowsMultiple) % kRowsMultiple;
}

/// Calls `task(i)` for i below `count`, each call on one thread, as many at a time as there are.
template <typename F>
void for_each_on_one_thread(std::size_t count, F task) {
  std::atomic<std::size_t> next{0};
  // One range a thread: inside it every operation stays on its thread, also where there is but one
  // task.
  at::parallel_for(0, at::get_num_threads(), 1, [&](std::int64_t begin, std::int64_t end) {
    const torch::NoGradGuard no_grad;
    for (; begin < end; ++begin) {
      for (std::size_t i = next++; i < count; i = next++) task(i);
    }
  });
}

/// Latents [N, M, D] of one batch.
torch::Tensor encode_batch(const ClaraModel& model, std::vector<const TokenIds*> sequences) {
  std::int64_t num_rows = 0;
  for (const TokenIds* sequence : sequences) num_rows += std::ssize(*sequence);
  const TokenIds filler(static_cast<std::size_t>(rows_to_fill(num_rows, model.base().dtype())), 0);
  if (!filler.empty()) sequences.push_back(&filler);
  return model.encode(AdapterRole::kCompressor, model.pack(sequences), {}, filler.empty() ? 0 : 1);
}

/// What batches_keep_bits compares: documents of these lengths. Some share a padded length, some
/// have one block of queries and some two. None is shorter than a document can be, for products of
/// up to three rows do have other bits in MKL.
constexpr std::array<std::int64_t, 18> kProbeLengths = {250, 158, 145, 130, 111, 104, 97, 64, 60,
                                                        40,  30,  17,  16,  16,  13,  12, 9,  0};
constexpr std::int64_t kNumMarks = 3;  // around a document's text
/// Rows of the batches that they share.
constexpr std::array<std::int64_t, 2> kProbeRows = {kBatchTokens, 131};

BaseLlm first_block_of(const BaseLlm& base) {
  BaseConfig config = base.config();
  config.num_layers = 1;
  BaseWeights weights = base.weights();
  weights.layers.resize(1);
  return {config, weights};
}

/// An adapter of that block for the layers that any block of `adapter` adapts. Its B is not zero:
/// what adds nothing shows nothing.
LoraAdapter probe_adapter(const LoraAdapter& adapter, const BaseConfig& block) {
  LoraSettings settings = adapter.settings();
  settings.target_modules = adapter.target_module_names();
  for (std::string& name : settings.target_modules) name.erase(0, name.rfind('.') + 1);
  LoraAdapter probe(block, settings, 1, torch::kCPU);
  at::Generator generator = at::detail::createCPUGenerator(1);
  for (const NamedTensor& named : probe.named_tensors())
    torch::Tensor(named.tensor).normal_(0.0, 0.1, generator);
  return probe;
}

/// Documents, by their places, and filler behind them.
struct ProbeBatch {
  std::vector<std::size_t> documents;
  std::int64_t num_rows = 0;  ///< at least
};

/// States [rows, D] of a batch behind the block.
torch::Tensor states_of(const BaseLlm& block, const LoraAdapter& adapter,
                        const std::vector<torch::Tensor>& documents, const ProbeBatch& batch) {
  std::vector<torch::Tensor> rows;
  std::vector<std::int64_t> lengths;
  std::int64_t num_rows = 0;
  const auto add = [&](const torch::Tensor& sequence) {
    rows.push_back(sequence);
    lengths.push_back(sequence.size(0));
    num_rows += sequence.size(0);
  };
  for (const std::size_t place : batch.documents) add(documents[place]);
  const torch::Tensor& longest = documents.front();
  for (std::int64_t missing = std::max<std::int64_t>(batch.num_rows - num_rows, 0) +
                              rows_to_fill(std::max(batch.num_rows, num_rows), block.dtype());
       missing > 0;) {
    const std::int64_t size = std::min(missing, longest.size(0));
    add(longest.narrow(0, 0, size));
    missing -= size;
  }
  return block.forward(torch::cat(rows), std::make_shared<const PackedLayout>(lengths, torch::kCPU),
                       &adapter);
}

}  // namespace

bool batches_keep_bits(const ClaraModel& model) {
  const torch::NoGradGuard no_grad;
  const BaseLlm block = first_block_of(model.base());
  const LoraAdapter adapter =
      probe_adapter(model.adapter(AdapterRole::kCompressor), block.config());
  at::Generator generator = at::detail::createCPUGenerator(2);
  std::vector<torch::Tensor> documents;
  std::vector<TokenIds> as_tokens;  // for their lengths
  std::vector<ProbeBatch> batches;
  for (const std::int64_t wanted : kProbeLengths) {
    const std::int64_t length = std::min(std::max(wanted, kNumMarks + model.num_memory()),
                                         block.config().longest_sequence());
    batches.push_back({{documents.size()}});
    documents.push_back(torch::empty({length, block.config().hidden_size})
                            .normal_(0, 1, generator)
                            .to(block.dtype()));
    as_tokens.emplace_back(static_cast<std::size_t>(length), 0);
  }
  std::vector<const TokenIds*> sequences;
  for (const TokenIds& tokens : as_tokens) sequences.push_back(&tokens);
  for (const std::int64_t num_rows : kProbeRows) {
    for (std::vector<std::size_t>& places : batches_by_length(sequences, num_rows))
      batches.push_back({std::move(places), num_rows});
  }
  std::vector<torch::Tensor> states(batches.size());  // the first ones are of a document alone each
  for_each_on_one_thread(batches.size(), [&](std::size_t b) {
    states[b] = states_of(block, adapter, documents, batches[b]);
  });
  for (std::size_t b = documents.size(); b < batches.size(); ++b) {
    std::int64_t begin = 0;
    for (const std::size_t place : batches[b].documents) {
      const std::int64_t length = documents[place].size(0);
      if (!torch::equal(states[b].narrow(0, begin, length), states[place].narrow(0, 0, length)))
        return false;
      begin += length;
    }
  }
  return true;
}

torch::Tensor RepeatableEncoder::encode(const std::vector<const TokenIds*>& documents) {
  if (documents.size() > 1 && !share_batches_) share_batches_ = batches_keep_bits(model_);
  std::int64_t num_tokens = 0;
  for (const TokenIds* document : documents) num_tokens += std::ssize(*document);
  const std::int64_t threads = at::get_num_threads();
  // Of few documents every thread gets some.
  const std::int64_t limit =
      share_batches_.value_or(false)
          ? std::min({kBatchTokens, max_tokens_ / threads, (num_tokens + threads - 1) / threads})
          : 0;
  const Batches batches = batches_by_length(documents, limit);
  torch::Tensor result =
      torch::empty({std::ssize(documents), model_.num_memory(), model_.base().config().hidden_size},
                   torch::dtype(model_.base().dtype()));
  for_each_on_one_thread(batches.size(), [&](std::size_t b) {
    std::vector<const TokenIds*> sequences;
    for (const std::size_t place : batches[b]) sequences.push_back(documents[place]);
    const torch::Tensor latents = encode_batch(model_, std::move(sequences));
    for (std::size_t i = 0; i < batches[b].size(); ++i)
      result[static_cast<std::int64_t>(batches[b][i])].copy_(latents[static_cast<std::int64_t>(i)]);
  });
  return result;
}

}  // namespace clara
