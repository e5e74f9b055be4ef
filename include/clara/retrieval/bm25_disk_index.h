// Searches a BM25 index on disk (bm25_builder.h), memory-mapped.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/retrieval/bm25.h"
#include "clara/retrieval/passage_search.h"

namespace clara {

struct Bm25SearchSettings {
  std::optional<double> k1;      ///< empty: as the index says
  std::optional<double> b;       ///< the same
  std::int32_t num_threads = 0;  ///< queries are shared among them; 0: those of the machine
  bool verifies_content = true;  ///< compare the files' checksums when the index is opened
};

/// Scores are those of Bm25Index over the same passages (title and text together), to the bit.
class Bm25DiskIndex final : public PassageSearch {
 public:
  /// Throws DataError as open_index_folder, ConfigError for k1 below 0 or b outside of 0 to 1.
  explicit Bm25DiskIndex(const std::filesystem::path& folder,
                         const Bm25SearchSettings& settings = {});
  ~Bm25DiskIndex() override;

  std::int64_t num_passages() const override;
  const PassageStore& passages() const override;
  std::vector<std::vector<SearchHit>> search(const std::vector<std::string>& queries,
                                             std::int64_t k) const override;

  const Bm25Settings& scoring() const;

 private:
  struct Files;
  std::unique_ptr<const Files> files_;
};

}  // namespace clara
