// Latents of documents, from the store where they are there, else from the frozen compressor.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <torch/types.h>

#include "clara/common/content_hash.h"
#include "clara/data/example.h"
#include "clara/latents/latent_store.h"
#include "clara/model/clara_model.h"
#include "clara/parallel/communicator.h"

namespace clara {

/// The places of `documents`, long ones first, in batches of at most `max_tokens` tokens; a longer
/// document is a batch of its own.
std::vector<std::vector<std::size_t>> batches_by_length(
    const std::vector<const TokenIds*>& documents, std::int64_t max_tokens);

/// Encodes documents without gradients, sorted by length, in batches of at most
/// `max_tokens_per_batch` tokens. Returns latents in the order given: [N, M, D] on the model's
/// device.
torch::Tensor encode_documents(const ClaraModel& model, AdapterRole role,
                               const std::vector<const TokenIds*>& documents,
                               std::int64_t max_tokens_per_batch);

/// Everything a document's latents depend on besides its tokens: compressor, memory rows, base,
/// dtype.
Hash128 compressor_fingerprint(const ClaraModel& model);

/// The key of a document in a store: a hash of its token ids.
Hash128 document_key(const TokenIds& document);

class RepeatableEncoder;

class DocumentLatents {
 public:
  /// `store` null: every document is encoded every time. The model must outlive this and its
  /// compressor must not change.
  DocumentLatents(const ClaraModel& model, std::unique_ptr<LatentStore> store,
                  std::int64_t max_tokens_per_batch);
  DocumentLatents(const DocumentLatents&) = delete;
  DocumentLatents& operator=(const DocumentLatents&) = delete;
  ~DocumentLatents();

  /// Latents of `documents` in the order given, [N, M, D] on the model's device, no gradient. Each
  /// distinct document that is not stored is encoded once. What was encoded on another device than
  /// the CPU is stored by a later call, when it has come to the host: nobody waits for it.
  torch::Tensor fetch(const std::vector<const TokenIds*>& documents);

  /// Gets what `documents`, this rank's, lack from the other ranks: each distinct document of all
  /// ranks belongs to one of them, which finds it in its store or encodes and stores it, so that
  /// the stores are shards of one. What comes from others is kept until the next call. A
  /// collective; nothing happens without a store.
  void share(const std::vector<const TokenIds*>& documents, Communicator& communicator);

  /// Documents encoded, and documents found, so far.
  std::int64_t num_encoded() const { return num_encoded_; }
  std::int64_t num_found() const { return num_found_; }
  /// Seconds that `fetch` and `share` took for all but encoding: looking up, storing, putting
  /// together, what went between ranks and waiting for them.
  double store_seconds() const { return store_seconds_; }
  /// Documents in the store or on their way there; 0 without one.
  std::int64_t num_stored() const;

 private:
  struct OnTheWay;
  struct PlaceOnTheWay {
    std::size_t batch;
    std::int64_t row;
  };

  std::optional<PlaceOnTheWay> find_on_the_way(const Hash128& key) const;
  /// Stores what has come to the host; `all`: also what has to be waited for.
  void store_encoded(bool all);

  const ClaraModel& model_;
  std::unique_ptr<LatentStore> store_;
  std::int64_t max_tokens_per_batch_;
  std::unique_ptr<RepeatableEncoder> repeatable_;           // for what is stored
  std::unordered_map<Hash128, torch::Tensor> from_others_;  // [M, D] on the CPU
  std::vector<OnTheWay> on_the_way_;                        // encoded, not stored yet
  std::int64_t num_encoded_ = 0;
  std::int64_t num_found_ = 0;
  double store_seconds_ = 0;
};

}  // namespace clara
