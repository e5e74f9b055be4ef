// Prefill and greedy decoding; finished sequences leave the batch.
#include "clara/eval/generate.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/model/next_token.h"

namespace clara {
namespace {

/// Where a prompt's latents stand among all latents.
struct LatentRange {
  std::int64_t begin = 0;
  std::int64_t length = 0;
};

std::vector<LatentRange> latent_ranges(const ClaraModel& model,
                                       const std::vector<TokenIds>& prompts) {
  const std::int64_t first_memory = model.base().config().vocab_rows;
  std::vector<LatentRange> ranges;
  std::int64_t begin = 0;
  for (const TokenIds& prompt : prompts) {
    const auto length = std::count_if(prompt.begin(), prompt.end(), [&](TokenId id) {
      return id >= first_memory && id < first_memory + model.num_memory();
    });
    ranges.push_back({begin, length});
    begin += length;
  }
  return ranges;
}

void check_prompts(const ClaraModel& model, const std::vector<TokenIds>& prompts) {
  const BaseConfig& config = model.base().config();
  for (std::size_t n = 0; n < prompts.size(); ++n) {
    const auto length = static_cast<std::int64_t>(prompts[n].size());
    if (length == 0 || length > config.longest_sequence()) {
      throw DataError("prompt " + std::to_string(n) + ": expected 1 to " +
                      std::to_string(config.longest_sequence()) + " tokens, the base model's " +
                      config.longest_sequence_reason() + ", found " + std::to_string(length));
    }
  }
}

/// Most probable base token of each state [N, D] → N ids.
std::vector<std::int64_t> greedy_tokens(const ClaraModel& model, const torch::Tensor& states_ND) {
  const torch::Tensor logits_NV = next_token_logits(states_ND, model.base().weights().head);
  // argmax takes the first of equal values, and a NaN before everything.
  const torch::Tensor best = logits_NV.argmax(1, /*keepdim=*/true);
  const torch::Tensor is_finite = logits_NV.gather(1, best).isfinite();
  const torch::Tensor packed = torch::cat({best, is_finite.to(torch::kInt64)}, 1).to(torch::kCPU);
  const auto* values = packed.const_data_ptr<std::int64_t>();
  std::vector<std::int64_t> tokens;
  for (std::int64_t n = 0; n < packed.size(0); ++n) {
    if (values[2 * n + 1] == 0) {
      throw NonFiniteError(
          "expected finite logits while generating, found one that is not; the checkpoint or the "
          "latents hold values that are not finite (try dtype float32)");
    }
    tokens.push_back(values[2 * n]);
  }
  return tokens;
}

/// The sequences that are still being decoded. All vectors have one entry a sequence.
struct ActiveSequences {
  std::vector<std::size_t> prompts;     // numbers of their prompts
  std::vector<std::int64_t> tokens;     // the newest token, not yet read by the model
  std::vector<std::int64_t> positions;  // where it stands
};

void keep_sequences(ActiveSequences& active, const std::vector<std::int64_t>& kept, KvCache& cache,
                    std::int64_t num_layers, torch::Device device) {
  ActiveSequences rest;
  for (const std::int64_t i : kept) {
    const auto place = static_cast<std::size_t>(i);
    rest.prompts.push_back(active.prompts[place]);
    rest.tokens.push_back(active.tokens[place]);
    rest.positions.push_back(active.positions[place]);
  }
  active = std::move(rest);
  const torch::Tensor rows = torch::tensor(kept, torch::kInt64).to(device);
  for (std::int64_t layer = 0; layer < num_layers; ++layer) {
    cache.keys(layer) = cache.keys(layer).index_select(0, rows);
    cache.values(layer) = cache.values(layer).index_select(0, rows);
  }
}

/// All prompts with the latents that stand at their memory tokens.
struct PromptSet {
  const std::vector<TokenIds>& tokens;
  std::vector<LatentRange> latent_ranges;
  torch::Tensor latents;  // [·, D] or undefined
};

class BatchDecoder {
 public:
  BatchDecoder(const ClaraModel& model, const PromptSet& prompts,
               const std::vector<TokenId>& end_ids, const GenerationSettings& settings)
      : model_(model), prompts_(prompts), end_ids_(end_ids), settings_(settings) {
    if (!settings.plain_base)
      adapter_ = model.adapter(AdapterRole::kGenerator).rounded_to(model.base().dtype());
  }

  /// Decodes the prompts of these numbers into `answers`.
  void decode(const std::vector<std::size_t>& numbers, std::vector<TokenIds>& answers) const {
    const BaseLlm& base = model_.base();
    const torch::Device device = model_.device();
    ActiveSequences active;
    std::int64_t longest = 0;
    for (const std::size_t n : numbers) {
      const auto length = static_cast<std::int64_t>(prompts_.tokens[n].size());
      longest = std::max(longest, length);
      active.prompts.push_back(n);
      active.positions.push_back(length - 1);
    }
    KvCache cache(base.config(), static_cast<std::int64_t>(numbers.size()),
                  longest + settings_.max_new_tokens, torch::dtype(base.dtype()).device(device));
    torch::Tensor states = read_whole(active, answers, cache);
    while (true) {
      active.tokens = greedy_tokens(model_, states);
      const std::vector<std::int64_t> kept = take_tokens(active, answers);
      if (kept.empty()) return;
      if (kept.size() < active.prompts.size()) {
        keep_sequences(active, kept, cache, base.config().num_layers, device);
      }
      // A sequence that grows beyond LongRoPE's limit is rotated otherwise from its first token on.
      const bool outgrows_cache = std::find(active.positions.begin(), active.positions.end(),
                                            base.rotary_limit()) != active.positions.end();
      states = outgrows_cache ? read_whole(active, answers, cache) : read_next(active, cache);
    }
  }

 private:
  /// Reads the prompts and what was answered so far, and fills the cache anew. → states [N, D] of
  /// the last tokens.
  torch::Tensor read_whole(const ActiveSequences& active, const std::vector<TokenIds>& answers,
                           KvCache& cache) const {
    std::vector<TokenIds> sequences;
    std::vector<torch::Tensor> pieces;
    std::vector<std::int64_t> last_places;
    std::int64_t total = 0;
    for (const std::size_t n : active.prompts) {
      TokenIds& sequence = sequences.emplace_back(prompts_.tokens[n]);
      sequence.insert(sequence.end(), answers[n].begin(), answers[n].end());
      total += static_cast<std::int64_t>(sequence.size());
      last_places.push_back(total - 1);
      const LatentRange& range = prompts_.latent_ranges[n];
      if (prompts_.latents.defined())
        pieces.push_back(prompts_.latents.narrow(0, range.begin, range.length));
    }
    std::vector<const TokenIds*> batch;
    for (const TokenIds& sequence : sequences) batch.push_back(&sequence);
    const PackedSequences packed = model_.pack(batch);
    const torch::Tensor embeddings =
        model_.embed(packed, pieces.empty() ? torch::Tensor() : torch::cat(pieces));
    return model_.base()
        .forward(embeddings, packed.layout, adapter(), {}, &cache)
        .index_select(0, torch::tensor(last_places, torch::kInt64).to(model_.device()));
  }

  /// Reads the newest token of each sequence. → states [N, D].
  torch::Tensor read_next(const ActiveSequences& active, KvCache& cache) const {
    const BaseLlm& base = model_.base();
    const torch::Tensor ids = torch::tensor(active.tokens, torch::kInt64).to(model_.device()),
                        positions =
                            torch::tensor(active.positions, torch::kInt64).to(model_.device());
    const std::int64_t seen =
        1 + *std::max_element(active.positions.begin(), active.positions.end());
    return base.forward_next(base.weights().embedding.index_select(0, ids), positions, seen,
                             adapter(), cache);
  }

  /// Appends the newest tokens to their answers and moves the positions on. Returns the places of
  /// the sequences that go on.
  std::vector<std::int64_t> take_tokens(ActiveSequences& active,
                                        std::vector<TokenIds>& answers) const {
    std::vector<std::int64_t> kept;
    for (std::size_t i = 0; i < active.prompts.size(); ++i) {
      const auto token = static_cast<TokenId>(active.tokens[i]);
      if (std::find(end_ids_.begin(), end_ids_.end(), token) != end_ids_.end()) continue;
      TokenIds& answer = answers[active.prompts[i]];
      answer.push_back(token);
      ++active.positions[i];
      const bool has_room = active.positions[i] < model_.base().config().longest_sequence();
      if (has_room && static_cast<std::int64_t>(answer.size()) < settings_.max_new_tokens) {
        kept.push_back(static_cast<std::int64_t>(i));
      }
    }
    return kept;
  }

  const LoraAdapter* adapter() const { return adapter_ ? &*adapter_ : nullptr; }

  const ClaraModel& model_;
  const PromptSet& prompts_;
  const std::vector<TokenId>& end_ids_;
  const GenerationSettings& settings_;
  std::optional<LoraAdapter> adapter_;
};

}  // namespace

std::vector<TokenIds> generate_answers(const ClaraModel& model,
                                       const std::vector<TokenIds>& prompts,
                                       const torch::Tensor& latents,
                                       const std::vector<TokenId>& end_ids,
                                       const GenerationSettings& settings) {
  const torch::NoGradGuard no_grad;
  check_prompts(model, prompts);
  std::vector<TokenIds> answers(prompts.size());
  if (settings.max_new_tokens <= 0) return answers;
  const std::vector<LatentRange> ranges = latent_ranges(model, prompts);
  const std::int64_t num_latents = prompts.empty() ? 0 : ranges.back().begin + ranges.back().length;
  const torch::Tensor all_latents =
      latents.defined() ? latents.reshape({-1, model.base().config().hidden_size}) : latents;
  const std::int64_t num_given = all_latents.defined() ? all_latents.size(0) : 0;
  if (num_given != num_latents) {
    throw Error("expected " + std::to_string(num_latents) +
                " latents for the memory tokens of the prompts, found " +
                std::to_string(num_given));
  }

  // Prompts of like length are decoded together; the longest of a batch comes first.
  std::vector<std::size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return prompts[a].size() > prompts[b].size();
  });
  const PromptSet set{prompts, ranges, all_latents};
  const BatchDecoder decoder(model, set, end_ids, settings);
  std::size_t begin = 0;
  while (begin < order.size()) {
    const std::int64_t capacity =
        static_cast<std::int64_t>(prompts[order[begin]].size()) + settings.max_new_tokens;
    const std::int64_t fitting = std::max<std::int64_t>(1, settings.max_batch_tokens / capacity);
    const std::size_t end = std::min(order.size(), begin + static_cast<std::size_t>(fitting));
    const std::vector<std::size_t> numbers(order.begin() + static_cast<std::ptrdiff_t>(begin),
                                           order.begin() + static_cast<std::ptrdiff_t>(end));
    decoder.decode(numbers, answers);
    begin = end;
  }
  return answers;
}

}  // namespace clara
