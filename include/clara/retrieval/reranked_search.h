// What an index finds, in the order of a cross-encoder.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/retrieval/passage_search.h"
#include "clara/retrieval/text_encoder.h"

namespace clara {

struct RerankSettings {
  std::int64_t depth = 100;  ///< passages of the first search that the cross-encoder compares
  DocumentFormat document_format = DocumentFormat::kTitleNewline;  ///< of what it reads
};

/// Scores are the cross-encoder's. Passages behind the first `depth` are not found, whatever k.
class RerankedSearch final : public PassageSearch {
 public:
  /// Throws ConfigError for a depth below 1.
  RerankedSearch(std::unique_ptr<const PassageSearch> first, CrossEncoder encoder,
                 const RerankSettings& settings = {});
  ~RerankedSearch() override;

  std::int64_t num_passages() const override;
  const PassageStore& passages() const override;
  std::vector<std::vector<SearchHit>> search(const std::vector<std::string>& queries,
                                             std::int64_t k) const override;

 private:
  std::unique_ptr<const PassageSearch> first_;
  CrossEncoder encoder_;
  RerankSettings settings_;
};

}  // namespace clara
