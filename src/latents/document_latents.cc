// Length-bucketed encoding without gradients, and the store in front of it.
#include "clara/latents/document_latents.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstring>
#include <numeric>
#include <string>
#include <unordered_set>

#include "common/device_copy.h"
#include "latents/repeatable_encoder.h"
#include <ATen/record_function.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;

/// Bytes of a tensor, wherever it lives. Large frozen tensors are sampled: their identity is the
/// file they came from.
void add_tensor(ContentHasher& hasher, const torch::Tensor& tensor, std::int64_t max_elements) {
  torch::Tensor flat = tensor.detach().reshape({-1});
  hasher.add_number(static_cast<std::uint64_t>(flat.size(0)));
  if (flat.size(0) > max_elements) {
    flat = flat.slice(0, 0, c10::nullopt, (flat.size(0) + max_elements - 1) / max_elements);
  }
  const torch::Tensor bytes = flat.to(torch::kCPU).contiguous();
  hasher.update(bytes.const_data_ptr(), bytes.nbytes());
}

constexpr std::int64_t kAllElements = std::int64_t{1} << 62;
constexpr std::int64_t kSampledElements = 4096;

/// Every tensor of the base (large matrices sampled) and every config value that enters the
/// computation.
void add_base(ContentHasher& hasher, const BaseLlm& base) {
  const BaseWeights& weights = base.weights();
  const auto add = [&](const torch::Tensor& tensor) {
    hasher.add_number(tensor.defined() ? 1 : 0);
    if (tensor.defined()) add_tensor(hasher, tensor, kSampledElements);
  };
  add(weights.embedding);
  add(weights.final_norm);
  for (const DecoderLayerWeights& layer : weights.layers) {
    for (const torch::Tensor& norm :
         {layer.input_norm, layer.post_attention_norm, layer.q_norm, layer.k_norm})
      add(norm);
    for (const torch::Tensor& weight : layer.projections) add(weight);
    for (const torch::Tensor& bias : layer.biases) add(bias);
  }
  const BaseConfig& c = base.config();
  hasher.add_field(c.model_type);
  for (const std::int64_t value :
       {c.hidden_size, c.intermediate_size, c.num_layers, c.num_heads, c.num_kv_heads, c.head_dim,
        c.vocab_rows, static_cast<std::int64_t>(c.rope.kind)}) {
    hasher.add_number(static_cast<std::uint64_t>(value));
  }
  for (const double value : {c.rms_norm_eps, c.rope.theta, c.rope.factor, c.rope.low_freq_factor,
                             c.rope.high_freq_factor, c.rope.original_max_positions,
                             c.rope.partial_rotary_factor, c.rope.attention_factor}) {
    hasher.add_number(std::bit_cast<std::uint64_t>(value));
  }
  for (const std::vector<double>& factors : {c.rope.short_factor, c.rope.long_factor}) {
    for (const double factor : factors) hasher.add_number(std::bit_cast<std::uint64_t>(factor));
  }
}

double since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string bytes_of(const void* data, std::size_t num_bytes) {
  return {static_cast<const char*>(data), num_bytes};
}

/// Reads what was appended as plain values.
class ByteReader {
 public:
  explicit ByteReader(const std::string& bytes) : bytes_(bytes) {}
  bool is_at_end() const { return place_ == bytes_.size(); }
  void read(void* data, std::size_t num_bytes) {
    if (num_bytes > bytes_.size() - place_) throw Error("a message of another rank is too short");
    std::memcpy(data, bytes_.data() + place_, num_bytes);
    place_ += num_bytes;
  }
  template <class Value>
  Value read_value() {
    Value value;
    read(&value, sizeof value);
    return value;
  }

 private:
  const std::string& bytes_;
  std::size_t place_ = 0;
};

}  // namespace

std::vector<std::vector<std::size_t>> batches_by_length(
    const std::vector<const TokenIds*>& documents, std::int64_t max_tokens) {
  std::vector<std::size_t> order(documents.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return documents[a]->size() > documents[b]->size();
  });
  std::vector<std::vector<std::size_t>> batches;
  std::int64_t tokens = 0;
  for (const std::size_t place : order) {
    const std::int64_t length = std::ssize(*documents[place]);
    if (batches.empty() || tokens + length > max_tokens) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(place);
    tokens += length;
  }
  return batches;
}

torch::Tensor encode_documents(const ClaraModel& model, AdapterRole role,
                               const std::vector<const TokenIds*>& documents,
                               std::int64_t max_tokens_per_batch) {
  const torch::NoGradGuard no_grad;
  torch::Tensor result = torch::empty({static_cast<std::int64_t>(documents.size()),
                                       model.num_memory(), model.base().config().hidden_size},
                                      torch::dtype(model.base().dtype()).device(model.device()));
  for (const std::vector<std::size_t>& batch : batches_by_length(documents, max_tokens_per_batch)) {
    std::vector<const TokenIds*> chosen;
    std::vector<std::int64_t> places;
    for (const std::size_t place : batch) {
      chosen.push_back(documents[place]);
      places.push_back(static_cast<std::int64_t>(place));
    }
    result.index_copy_(0, to_device(places, model.device()),
                       model.encode(role, model.pack(chosen)));
  }
  return result;
}

Hash128 compressor_fingerprint(const ClaraModel& model) {
  ContentHasher hasher;
  hasher.add_field("clara latents 1");
  hasher.add_number(static_cast<std::uint64_t>(model.base().dtype()));
  // The rows of a product decide about its rounding.
  if (model.base().dtype() == torch::kBFloat16) hasher.add_number(kRowsMultiple);
  hasher.add_number(static_cast<std::uint64_t>(model.num_memory()));
  const LoraAdapter& compressor = model.adapter(AdapterRole::kCompressor);
  hasher.add_field(std::to_string(compressor.scale()));
  for (const NamedTensor& named : compressor.named_tensors()) {
    hasher.add_field(named.name);
    add_tensor(hasher, named.tensor, kAllElements);
  }
  add_tensor(hasher, model.memory().memory_rows, kAllElements);
  add_tensor(hasher, model.memory().fixed_rows, kAllElements);
  add_base(hasher, model.base());
  return hasher.digest();
}

Hash128 document_key(const TokenIds& document) {
  return hash_bytes(
      {reinterpret_cast<const char*>(document.data()), document.size() * sizeof(TokenId)});
}

DocumentLatents::DocumentLatents(const ClaraModel& model, std::unique_ptr<LatentStore> store,
                                 std::int64_t max_tokens_per_batch)
    : model_(model),
      store_(std::move(store)),
      max_tokens_per_batch_(max_tokens_per_batch),
      repeatable_(std::make_unique<RepeatableEncoder>(model, max_tokens_per_batch)) {}

DocumentLatents::~DocumentLatents() = default;

torch::Tensor DocumentLatents::fetch(const std::vector<const TokenIds*>& documents) {
  RECORD_USER_SCOPE("clara::compress");
  const torch::NoGradGuard no_grad;
  Clock::time_point start = Clock::now();
  // Distinct documents of this call, in order of appearance.
  std::unordered_map<Hash128, std::int64_t> distinct_of_key;
  std::vector<const TokenIds*> distinct;
  std::vector<Hash128> keys;
  std::vector<std::int64_t> place;
  for (const TokenIds* document : documents) {
    const Hash128 key = document_key(*document);
    const auto [it, is_new] =
        distinct_of_key.try_emplace(key, static_cast<std::int64_t>(distinct.size()));
    if (is_new) {
      distinct.push_back(document);
      keys.push_back(key);
    }
    place.push_back(it->second);
  }
  if (store_ == nullptr) {
    num_encoded_ += std::ssize(distinct);
    return encode_documents(model_, AdapterRole::kCompressor, distinct, max_tokens_per_batch_)
        .index_select(0, to_device(place, model_.device()));
  }
  std::vector<torch::Tensor> latents(distinct.size());
  std::vector<const TokenIds*> missing;
  std::vector<std::size_t> missing_places;
  for (std::size_t i = 0; i < distinct.size(); ++i) {
    std::optional<torch::Tensor> stored = store_->find(keys[i]);
    if (const auto it = from_others_.find(keys[i]); !stored && it != from_others_.end())
      stored = it->second;
    if (stored) {
      latents[i] = std::move(*stored);
      ++num_found_;
    } else {
      missing.push_back(distinct[i]);
      missing_places.push_back(i);
    }
  }
  store_seconds_ += since(start);
  if (!missing.empty()) {
    // What is kept must not depend on which other documents were missing: a resumed run begins with
    // an empty store and misses others than the run that it continues. Off the CPU nothing is
    // promised to the bit.
    const torch::Tensor encoded =
        model_.device().is_cpu()
            ? repeatable_->encode(missing)
            : encode_documents(model_, AdapterRole::kCompressor, missing, max_tokens_per_batch_);
    const torch::Tensor on_host = read_on_host(encoded);
    num_encoded_ += static_cast<std::int64_t>(missing.size());
    start = Clock::now();
    for (std::size_t i = 0; i < missing.size(); ++i) {
      latents[missing_places[i]] = on_host[static_cast<std::int64_t>(i)];
      store_->put(keys[missing_places[i]], latents[missing_places[i]]);
    }
    store_seconds_ += since(start);
  }
  start = Clock::now();
  torch::Tensor result = to_device(
      torch::stack(latents).index_select(0, torch::tensor(place, torch::kInt64)), model_.device());
  store_seconds_ += since(start);
  return result;
}

void DocumentLatents::share(const std::vector<const TokenIds*>& documents,
                            Communicator& communicator) {
  if (store_ == nullptr || communicator.size() == 1) return;
  from_others_.clear();
  Clock::time_point start = Clock::now();
  const auto owner_of = [&](const Hash128& key) {
    return static_cast<std::int64_t>(key.lo % static_cast<std::uint64_t>(communicator.size()));
  };
  // What each rank lacks; its own documents too, for others may lack them as well.
  std::unordered_map<Hash128, const TokenIds*> lacking;
  std::string wanted;
  for (const TokenIds* document : documents) {
    const Hash128 key = document_key(*document);
    if (store_->find(key) || !lacking.try_emplace(key, document).second) continue;
    wanted += bytes_of(&key, sizeof key);
  }
  // This rank's documents among them, in an order that all ranks could tell; those that no store
  // holds are asked for.
  std::vector<Hash128> owned;
  std::unordered_set<Hash128> seen;
  std::string unknown;
  for (const std::string& rank : communicator.gather(wanted)) {
    for (ByteReader reader(rank); !reader.is_at_end();) {
      const auto key = reader.read_value<Hash128>();
      if (owner_of(key) != communicator.rank() || !seen.insert(key).second) continue;
      owned.push_back(key);
      if (!store_->find(key)) unknown += bytes_of(&key, sizeof key);
    }
  }
  // Whoever has an unknown document gives its tokens; its owner encodes it.
  std::string given;
  for (const std::string& rank : communicator.gather(unknown)) {
    for (ByteReader reader(rank); !reader.is_at_end();) {
      const auto it = lacking.find(reader.read_value<Hash128>());
      if (it == lacking.end()) continue;
      const std::uint64_t length = it->second->size();
      given += bytes_of(&it->first, sizeof it->first) + bytes_of(&length, sizeof length) +
               bytes_of(it->second->data(), length * sizeof(TokenId));
    }
  }
  std::vector<TokenIds> to_encode;
  std::unordered_set<Hash128> taken;
  for (const std::string& rank : communicator.gather(given)) {
    for (ByteReader reader(rank); !reader.is_at_end();) {
      const auto key = reader.read_value<Hash128>();
      TokenIds tokens(reader.read_value<std::uint64_t>());
      reader.read(tokens.data(), tokens.size() * sizeof(TokenId));
      if (owner_of(key) == communicator.rank() && taken.insert(key).second)
        to_encode.push_back(std::move(tokens));
    }
  }
  if (!to_encode.empty()) {
    std::vector<const TokenIds*> pointers;
    for (const TokenIds& tokens : to_encode) pointers.push_back(&tokens);
    store_seconds_ += since(start);
    fetch(pointers);  // counts its own
    start = Clock::now();
  }
  // The answers.
  std::string answers;
  for (const Hash128& key : owned) {
    const std::optional<torch::Tensor> latents = store_->find(key);
    if (!latents) throw Error("a document's latents could not be stored");
    const torch::Tensor bytes = latents->contiguous();
    answers += bytes_of(&key, sizeof key) + bytes_of(bytes.const_data_ptr(), bytes.nbytes());
  }
  for (const std::string& rank : communicator.gather(answers)) {
    for (ByteReader reader(rank); !reader.is_at_end();) {
      const auto key = reader.read_value<Hash128>();
      torch::Tensor latents =
          torch::empty({model_.num_memory(), model_.base().config().hidden_size},
                       torch::dtype(model_.base().dtype()));
      reader.read(latents.mutable_data_ptr(), latents.nbytes());
      if (lacking.contains(key) && owner_of(key) != communicator.rank())
        from_others_.emplace(key, std::move(latents));
    }
  }
  store_seconds_ += since(start);
}

}  // namespace clara
