// Opens an index over a corpus, of whatever kind its folder says.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "clara/retrieval/bm25_disk_index.h"
#include "clara/retrieval/dense_passage_search.h"
#include "clara/retrieval/passage_search.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara {

struct PassageSearchSettings {
  Bm25SearchSettings bm25;
  DenseSearchSettings dense;
  /// Opens the encoder that the index of the kind latent in a folder was built with: a model, which
  /// this part of the library knows nothing of (latent_encoder.h has one).
  std::function<std::unique_ptr<const VectorEncoder>(const std::filesystem::path& folder)>
      open_latent_encoder;
};

/// Throws ConfigError where a setting of another kind was given (k1 with a dense index, say), else
/// as Bm25DiskIndex, DensePassageSearch and open_latent_encoder; DataError for a kind that cannot
/// be searched.
std::unique_ptr<const PassageSearch> open_passage_search(
    const std::filesystem::path& folder, const PassageSearchSettings& settings = {});

}  // namespace clara
