// What every index over a corpus answers: which passages fit a query best.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/retrieval/passage_store.h"

namespace clara {

/// A passage that was found.
struct SearchHit {
  std::int64_t passage = 0;  ///< its number in the index, from 0
  double score = 0;          ///< higher is better; comparable within one query only

  friend bool operator==(const SearchHit&, const SearchHit&) = default;
};

/// An index over the passages of a corpus.
class PassageSearch {
 public:
  PassageSearch() = default;
  PassageSearch(const PassageSearch&) = delete;
  PassageSearch& operator=(const PassageSearch&) = delete;
  virtual ~PassageSearch() = default;

  virtual std::int64_t num_passages() const = 0;
  virtual const PassageStore& passages() const = 0;
  /// The best `k` passages of each query, best first, ties to the lower number; fewer where fewer
  /// have anything in common with the query. Throws DataError for an index that turns out damaged.
  virtual std::vector<std::vector<SearchHit>> search(const std::vector<std::string>& queries,
                                                     std::int64_t k) const = 0;
};

}  // namespace clara
