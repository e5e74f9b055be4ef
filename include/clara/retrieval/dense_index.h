// From a stream of passages to vectors on disk and an index over them; resumable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "clara/common/content_hash.h"
#include "clara/retrieval/text_encoder.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

struct DenseIndexSettings {
  VectorIndexSettings index;
  std::int64_t shard_passages = 16384;    ///< passages of a file; what a killed run loses at most
  TensorDtype dtype = TensorDtype::kF16;  ///< of the stored vectors: kF16 or kF32
  bool force = false;                     ///< begin anew where vectors of another source are
};

struct DenseIndexReport {
  std::int64_t num_passages = 0;
  std::int64_t num_encoded = 0;  ///< the others were there from an earlier run
  double encode_seconds = 0;
  double index_seconds = 0;
  std::uint64_t num_bytes = 0;  ///< of all files
  bool was_stopped = false;     ///< should_stop asked for it; no index was built
  VectorIndexSettings index;    ///< as resolved
};

/// What the building of an index hears and asks.
struct DenseIndexHooks {
  std::function<void(std::int64_t num_passages)> on_progress;  ///< passages that are done
  std::function<bool()> should_stop;                           ///< asked before every shard
};

/// Encodes the passages that `next` gives (nothing at their end) into shards in `folder`, which is
/// made where it is not there, then builds the index. Shards of an earlier run of the same corpus
/// (its fingerprint), encoder and settings are kept; those of another are a DataError. Only one
/// process may work in a folder. Throws ConfigError, DataError, Error.
DenseIndexReport build_dense_index(const std::filesystem::path& folder, const TextEncoder& encoder,
                                   const Hash128& corpus,
                                   const std::function<std::optional<std::string>()>& next,
                                   const DenseIndexSettings& settings,
                                   const DenseIndexHooks& hooks = {});

}  // namespace clara
