// BM25 over a small list of documents, as Lucene scores it (the `bm25` way to select candidates,
// numerics §9). Needs no LibTorch.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace clara {

struct Bm25Settings {
  double k1 = 1.2;  ///< how fast repeated terms saturate; at least 0
  double b = 0.75;  ///< how much long documents are held back, 0 to 1
};

/// Throws ConfigError for a value that is out of its range.
void check_bm25_settings(const Bm25Settings& settings);

/// The terms of a text: runs of letters, marks and digits (Unicode), in lower case. Nothing is
/// stemmed or left out; scripts without spaces give one term a run.
std::vector<std::string> bm25_terms(std::string_view text);
/// The same one by one; a term is valid during its call only.
void for_each_bm25_term(std::string_view text, const std::function<void(std::string_view)>& visit);

/// Term statistics of a list of documents.
/// score(q, d) = Σ over the terms t of q, repeated ones again: idf(t) · tf / (tf + k1 · (1 − b + b
/// · |d| / mean |d|)), idf(t) = ln(1 + (N − n + 0.5) / (n + 0.5)) with N documents of which n hold
/// t. This is Lucene's formula since version 8, with exact document lengths in place of its
/// one-byte ones.
class Bm25Index {
 public:
  explicit Bm25Index(const std::vector<std::string>& documents, const Bm25Settings& settings = {});

  std::int64_t num_documents() const { return static_cast<std::int64_t>(lengths_.size()); }
  /// Scores of all documents, in their order; 0 where no term is shared.
  std::vector<double> scores(std::string_view query) const;

 private:
  struct Posting {
    std::size_t document = 0;
    std::int64_t frequency = 0;
  };

  Bm25Settings settings_;
  std::vector<std::int64_t> lengths_;  // in terms
  double mean_length_ = 0;
  std::unordered_map<std::string, std::vector<Posting>> postings_;
};

}  // namespace clara
