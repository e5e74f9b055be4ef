// Opens an index over a corpus, of whatever kind its folder says.
#pragma once

#include <filesystem>
#include <memory>

#include "clara/retrieval/bm25_disk_index.h"
#include "clara/retrieval/dense_passage_search.h"
#include "clara/retrieval/passage_search.h"

namespace clara {

struct PassageSearchSettings {
  Bm25SearchSettings bm25;
  DenseSearchSettings dense;
};

/// Throws ConfigError where a setting of another kind was given (k1 with a dense index, say), else
/// as Bm25DiskIndex and DensePassageSearch; DataError for a kind that cannot be searched.
std::unique_ptr<const PassageSearch> open_passage_search(
    const std::filesystem::path& folder, const PassageSearchSettings& settings = {});

}  // namespace clara
