// Length-bucketed encoding without gradients, and the store in front of it.
#include "clara/latents/document_latents.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <numeric>
#include <string>
#include <unordered_set>

#include "common/byte_message.h"
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

struct DistinctDocuments {
  std::vector<const TokenIds*> documents;  ///< in order of appearance
  std::vector<Hash128> keys;
  std::vector<std::size_t> places;  ///< of each given document among them
};

DistinctDocuments distinct_documents(const std::vector<const TokenIds*>& documents) {
  DistinctDocuments distinct;
  std::unordered_map<Hash128, std::size_t> place_of_key;
  for (const TokenIds* document : documents) {
    const Hash128 key = document_key(*document);
    const auto [it, is_new] = place_of_key.try_emplace(key, distinct.keys.size());
    if (is_new) {
      distinct.documents.push_back(document);
      distinct.keys.push_back(key);
    }
    distinct.places.push_back(it->second);
  }
  return distinct;
}

struct PartRow {
  std::size_t part;
  std::int64_t row;
};

/// `rows` of `parts` (undefined: has none of them), on the parts' device.
torch::Tensor gather_rows(const std::vector<torch::Tensor>& parts,
                          const std::vector<PartRow>& rows) {
  std::vector<torch::Tensor> used;
  std::vector<std::int64_t> first_row;
  std::int64_t num_rows = 0;
  for (const torch::Tensor& part : parts) {
    first_row.push_back(num_rows);
    if (!part.defined()) continue;
    num_rows += part.size(0);
    used.push_back(part);
  }
  std::vector<std::int64_t> indices;
  for (const PartRow& row : rows) indices.push_back(first_row[row.part] + row.row);
  const torch::Tensor whole = used.size() == 1 ? used[0] : torch::cat(used);
  return whole.index_select(0, to_device(indices, whole.device()));
}

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

struct DocumentLatents::OnTheWay {
  std::vector<Hash128> keys;
  torch::Tensor latents;  // [keys, M, D] on the model's device
  HostCopy on_host;
};

DocumentLatents::DocumentLatents(const ClaraModel& model, std::unique_ptr<LatentStore> store,
                                 std::int64_t max_tokens_per_batch)
    : model_(model),
      store_(std::move(store)),
      max_tokens_per_batch_(max_tokens_per_batch),
      repeatable_(std::make_unique<RepeatableEncoder>(model, max_tokens_per_batch)) {}

DocumentLatents::~DocumentLatents() {
  try {
    store_encoded(/*all=*/true);
  } catch (const std::exception&) {
    // What a store lacks is encoded again.
  }
}

std::int64_t DocumentLatents::num_stored() const {
  if (store_ == nullptr) return 0;
  std::int64_t number = store_->size();
  for (const OnTheWay& batch : on_the_way_) number += std::ssize(batch.keys);
  return number;
}

std::optional<DocumentLatents::PlaceOnTheWay> DocumentLatents::find_on_the_way(
    const Hash128& key) const {
  for (std::size_t b = 0; b < on_the_way_.size(); ++b) {
    const std::vector<Hash128>& keys = on_the_way_[b].keys;
    const auto it = std::find(keys.begin(), keys.end(), key);
    if (it != keys.end()) return PlaceOnTheWay{b, it - keys.begin()};
  }
  return std::nullopt;
}

void DocumentLatents::store_encoded(bool all) {
  // In the stream's order: behind one that is not ready none is.
  auto batch = on_the_way_.begin();
  for (; batch != on_the_way_.end() && (all || batch->on_host.is_ready()); ++batch) {
    const torch::Tensor latents = batch->on_host.values();
    for (std::size_t i = 0; i < batch->keys.size(); ++i)
      store_->put(batch->keys[i], latents[static_cast<std::int64_t>(i)]);
  }
  on_the_way_.erase(on_the_way_.begin(), batch);
}

torch::Tensor DocumentLatents::fetch(const std::vector<const TokenIds*>& documents) {
  RECORD_USER_SCOPE("clara::compress");
  const torch::NoGradGuard no_grad;
  Clock::time_point start = Clock::now();
  const DistinctDocuments distinct = distinct_documents(documents);
  std::vector<PartRow> rows;
  if (store_ == nullptr) {
    num_encoded_ += std::ssize(distinct.documents);
    for (const std::size_t place : distinct.places)
      rows.push_back({0, static_cast<std::int64_t>(place)});
    return gather_rows({encode_documents(model_, AdapterRole::kCompressor, distinct.documents,
                                         max_tokens_per_batch_)},
                       rows);
  }
  store_encoded(/*all=*/false);
  // A document's latents come from the host, are on their way there or are encoded now.
  std::vector<torch::Tensor> parts(on_the_way_.size() + 2);
  std::vector<PartRow> row_of;
  std::vector<torch::Tensor> on_host;
  std::vector<const TokenIds*> missing;
  std::vector<Hash128> missing_keys;
  for (std::size_t i = 0; i < distinct.keys.size(); ++i) {
    const Hash128& key = distinct.keys[i];
    std::optional<torch::Tensor> known = store_->find(key);
    if (const auto it = from_others_.find(key); !known && it != from_others_.end())
      known = it->second;
    if (known) {
      row_of.push_back({0, std::ssize(on_host)});
      on_host.push_back(std::move(*known));
    } else if (const auto way = find_on_the_way(key)) {
      row_of.push_back({way->batch + 1, way->row});
      parts[way->batch + 1] = on_the_way_[way->batch].latents;
    } else {
      row_of.push_back({parts.size() - 1, std::ssize(missing)});
      missing.push_back(distinct.documents[i]);
      missing_keys.push_back(key);
    }
  }
  num_found_ += std::ssize(row_of) - std::ssize(missing);
  if (!on_host.empty()) parts[0] = to_device(torch::stack(on_host), model_.device());
  store_seconds_ += since(start);
  if (!missing.empty()) {
    // What is kept must not depend on which other documents were missing: a resumed run begins with
    // an empty store and misses others than the run that it continues. Off the CPU nothing is
    // promised to the bit.
    parts.back() = model_.device().is_cpu() ? repeatable_->encode(missing)
                                            : encode_documents(model_, AdapterRole::kCompressor,
                                                               missing, max_tokens_per_batch_);
    num_encoded_ += std::ssize(missing);
    start = Clock::now();
    on_the_way_.push_back({std::move(missing_keys), parts.back(), HostCopy(parts.back())});
    store_encoded(/*all=*/false);
    store_seconds_ += since(start);
  }
  start = Clock::now();
  for (const std::size_t place : distinct.places) rows.push_back(row_of[place]);
  torch::Tensor result = gather_rows(parts, rows);
  store_seconds_ += since(start);
  return result;
}

void DocumentLatents::share(const std::vector<const TokenIds*>& documents,
                            Communicator& communicator) {
  if (store_ == nullptr || communicator.size() == 1) return;
  from_others_.clear();
  store_encoded(/*all=*/true);
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
    wanted += bytes_of_value(key);
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
      if (!store_->find(key)) unknown += bytes_of_value(key);
    }
  }
  // Whoever has an unknown document gives its tokens; its owner encodes it.
  std::string given;
  for (const std::string& rank : communicator.gather(unknown)) {
    for (ByteReader reader(rank); !reader.is_at_end();) {
      const auto it = lacking.find(reader.read_value<Hash128>());
      if (it == lacking.end()) continue;
      const std::uint64_t length = it->second->size();
      given += bytes_of_value(it->first) + bytes_of_value(length) +
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
    fetch(pointers);              // counts its own
    store_encoded(/*all=*/true);  // waits for the encoding
    start = Clock::now();
  }
  // The answers.
  std::string answers;
  for (const Hash128& key : owned) {
    const std::optional<torch::Tensor> latents = store_->find(key);
    if (!latents) throw Error("a document's latents could not be stored");
    const torch::Tensor bytes = latents->contiguous();
    answers += bytes_of_value(key) + bytes_of(bytes.const_data_ptr(), bytes.nbytes());
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
