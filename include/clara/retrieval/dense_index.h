// From the passages of a corpus to vectors on disk and an index over them; resumable.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>

#include "clara/data/document_format.h"
#include "clara/parallel/communicator.h"
#include "clara/retrieval/corpus.h"
#include "clara/retrieval/vector_encoder.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

struct DenseIndexSettings {
  VectorIndexSettings index;
  DocumentFormat document_format = DocumentFormat::kTitleNewline;  ///< of what is encoded
  /// Passages of a file; what a killed run loses at most, on each rank. 0: 16384, or the power of
  /// two whose vectors fit 256 MiB in float32, if that is less.
  std::int64_t shard_passages = 0;
  TensorDtype dtype = TensorDtype::kF16;  ///< of the stored vectors, see VectorSource
  /// An index that is there, and unfinished work of another corpus, encoder or other settings.
  bool replaces = false;
};

struct DenseIndexReport {
  std::int64_t num_passages = 0;  ///< of the corpus
  std::int64_t num_done = 0;      ///< those with a vector
  std::int64_t num_encoded = 0;   ///< of these: now, by all ranks; the others were there before
  std::int64_t num_cut = 0;       ///< of these: VectorEncoder::num_cut_passages
  double encode_seconds = 0;
  double index_seconds = 0;
  std::uint64_t num_bytes = 0;  ///< of all files
  bool was_stopped = false;     ///< should_stop asked for it; no index was built
  VectorIndexSettings index;    ///< as resolved
};

/// What the building of an index tells and asks, and who helps.
struct DenseIndexHooks {
  CorpusProgress on_read;  ///< while passages are read
  /// While they are encoded, by all ranks.
  std::function<void(std::int64_t num_done, std::int64_t num_passages)> on_encoded;
  std::function<bool()>
      should_stop;  ///< asked before every passage is read, and before every shard
  /// Ranks that share the shards, of which this is rank 0; null: this process alone.
  Communicator* communicator = nullptr;
  /// When the other ranks have left.
  std::function<void()> on_alone;
};

/// All passages of `corpus` as an index in the new folder `output`, which appears whole or not at
/// all. Until then the work is kept beside it (IndexFolderWriter): the same call goes on with the
/// shards that are missing. Vectors of an index that is replaced are taken over where corpus,
/// encoder and settings are the same, so that another kind of index needs no second encoding.
/// With a communicator this is what rank 0 does, while the others call help_dense_index(): all of
/// them encode a shard at a time, into this one's folder, which all must see. Throws ConfigError
/// for a folder that is there unless it `replaces`, and for settings; DataError for unfinished work
/// of another source, for a corpus without passages or with an id twice, for ranks with another
/// encoder or without the folder, else as CorpusReader; DistributedError where another rank has
/// failed; Error where the disk is full.
DenseIndexReport build_dense_index(CorpusReader& corpus, const std::filesystem::path& output,
                                   const VectorEncoder& encoder, const DenseIndexSettings& settings,
                                   const DenseIndexHooks& hooks = {});

/// What ranks other than 0 do while rank 0 builds; they leave the group when all vectors are there.
/// The settings are rank 0's. Throws as build_dense_index().
DenseIndexReport help_dense_index(Communicator& communicator, const VectorEncoder& encoder,
                                  const std::function<bool()>& should_stop = nullptr);

}  // namespace clara
