// Searches an index of vectors (dense_index.h): the question's vector by its encoder, then the
// nearest.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/retrieval/passage_search.h"
#include "clara/retrieval/vector_encoder.h"
#include "clara/retrieval/vector_index.h"

namespace clara {

struct DenseSearchSettings {
  /// Of an index of the kind dense; empty: where it was when the index was built.
  std::filesystem::path encoder;
  /// The same; what goes before every query; nothing: as config_sentence_transformers.json says.
  std::optional<std::string> query_prefix;
  std::int64_t nprobe = 0;  ///< 0: as the index says; the same below
  std::int64_t rescore = 0;
  std::int64_t ef_search = 0;
  bool verifies_content = true;  ///< compare the files' checksums when the index is opened
};

/// Scores are the inner products of unit vectors: cosines, but for the rounding of what is stored.
/// Computes with LibTorch's threads.
class DensePassageSearch final : public PassageSearch {
 public:
  /// Throws DataError as open_index_folder and TextEncoder, and for another encoder than the one
  /// that the vectors are of; ConfigError for settings that do not fit the index.
  explicit DensePassageSearch(const std::filesystem::path& folder,
                              const DenseSearchSettings& settings = {});
  /// The same with an encoder of any kind. Its fingerprint must be that of the vectors.
  DensePassageSearch(const std::filesystem::path& folder,
                     std::unique_ptr<const VectorEncoder> encoder,
                     const DenseSearchSettings& settings = {});
  ~DensePassageSearch() override;

  std::int64_t num_passages() const override;
  const PassageStore& passages() const override;
  std::vector<std::vector<SearchHit>> search(const std::vector<std::string>& queries,
                                             std::int64_t k) const override;

  const VectorEncoder& encoder() const;
  const VectorIndex& index() const;

 private:
  struct Parts;
  std::unique_ptr<const Parts> parts_;
};

}  // namespace clara
