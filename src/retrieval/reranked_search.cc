// A query at a time: its passages make batches of their own.
#include "clara/retrieval/reranked_search.h"

#include <algorithm>
#include <utility>

#include "clara/common/error.h"
#include "clara/retrieval/corpus.h"

namespace clara {

RerankedSearch::RerankedSearch(std::unique_ptr<const PassageSearch> first, CrossEncoder encoder,
                               const RerankSettings& settings)
    : first_(std::move(first)), encoder_(std::move(encoder)), settings_(settings) {
  if (settings_.depth < 1) {
    throw ConfigError("depth: expected at least 1 passage to rerank, found " +
                      std::to_string(settings_.depth));
  }
}

RerankedSearch::~RerankedSearch() = default;

std::int64_t RerankedSearch::num_passages() const { return first_->num_passages(); }
const PassageStore& RerankedSearch::passages() const { return first_->passages(); }

std::vector<std::vector<SearchHit>> RerankedSearch::search(const std::vector<std::string>& queries,
                                                           std::int64_t k) const {
  if (k < 1) return std::vector<std::vector<SearchHit>>(queries.size());
  std::vector<std::vector<SearchHit>> found = first_->search(queries, settings_.depth);
  for (std::size_t q = 0; q < found.size(); ++q) {
    std::vector<SearchHit>& hits = found[q];
    std::vector<std::string> documents;
    for (const SearchHit& hit : hits) {
      documents.push_back(
          document_of(first_->passages().passage(hit.passage), settings_.document_format));
    }
    const std::vector<float> scores = encoder_.scores(queries[q], documents);
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i].score = scores[i];
    std::sort(hits.begin(), hits.end(), [](const SearchHit& a, const SearchHit& b) {
      return a.score != b.score ? a.score > b.score : a.passage < b.passage;
    });
    hits.resize(std::min(hits.size(), static_cast<std::size_t>(k)));
  }
  return found;
}

}  // namespace clara
