// Builds a BM25 index on disk from passages as they come, with bounded memory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "clara/retrieval/bm25.h"
#include "clara/retrieval/corpus.h"

namespace clara {

struct Bm25BuildSettings {
  Bm25Settings scoring;  ///< kept as the index's defaults; searching may take others
  /// Postings that are sorted in memory at once; what is beyond goes to the disk and is merged. The
  /// index does not depend on it.
  std::int64_t memory_bytes = std::int64_t{1} << 30;
};

struct Bm25BuildReport {
  std::int64_t num_passages = 0;
  std::int64_t num_terms = 0;     ///< distinct
  std::int64_t num_postings = 0;  ///< pairs of a term and a passage
  std::int64_t num_tokens = 0;    ///< terms with their repetitions
  std::int64_t num_runs = 0;      ///< sorted parts that were merged
};

/// Writes the files of an index into a folder.
class Bm25Builder {
 public:
  /// Throws Error where the folder cannot be written.
  Bm25Builder(const std::filesystem::path& folder, const Bm25BuildSettings& settings);
  Bm25Builder(const Bm25Builder&) = delete;
  Bm25Builder& operator=(const Bm25Builder&) = delete;
  ~Bm25Builder();

  /// The passage gets the next number, from 0; title and text are indexed.
  void add(const Passage& passage);
  /// Merges and completes the files; exactly once. Throws DataError for an id that two passages
  /// have, Error where the disk is full.
  Bm25BuildReport finish();

 private:
  class Builder;
  std::unique_ptr<Builder> builder_;
};

/// All passages of `corpus` as an index in the new folder `output`, which appears whole or not at
/// all. Throws ConfigError for a folder that is there unless `replaces`, DataError for a corpus
/// without passages, else as Bm25Builder and CorpusReader.
Bm25BuildReport build_bm25_index(CorpusReader& corpus, const std::filesystem::path& output,
                                 bool replaces, const Bm25BuildSettings& settings,
                                 const CorpusProgress& progress = {});

}  // namespace clara
