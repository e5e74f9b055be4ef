// Recall@k and precision@k and their means (numerics §9).
#include "clara/metrics/retrieval_metrics.h"

#include <cstddef>
#include <set>
#include <stdexcept>
#include <string>

namespace clara {
namespace {

struct Hits {
  std::size_t num_hits;
  std::size_t num_gold;
};

Hits count_hits(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold,
                std::int32_t k) {
  if (k < 1)
    throw std::invalid_argument("recall and precision at k: expected k >= 1, found " +
                                std::to_string(k));
  if (gold.empty())
    throw std::invalid_argument("recall and precision at k: expected gold documents, found none");
  const std::set<std::int32_t> wanted(gold.begin(), gold.end());
  std::set<std::int32_t> seen;
  std::size_t num_hits = 0;
  for (const std::int32_t document : ranked) {
    if (seen.size() == static_cast<std::size_t>(k)) break;
    if (seen.insert(document).second && wanted.contains(document)) ++num_hits;
  }
  return {num_hits, wanted.size()};
}

}  // namespace

double recall_at_k(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold,
                   std::int32_t k) {
  const Hits hits = count_hits(ranked, gold, k);
  return static_cast<double>(hits.num_hits) / static_cast<double>(hits.num_gold);
}

double precision_at_k(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold,
                      std::int32_t k) {
  return static_cast<double>(count_hits(ranked, gold, k).num_hits) / k;
}

void RetrievalMetrics::add(std::span<const std::int32_t> ranked,
                           std::span<const std::int32_t> gold) {
  if (gold.empty()) {
    ++sums_.num_without_gold;
    return;
  }
  ++sums_.num_questions;
  for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
    sums_.recall[i] += recall_at_k(ranked, gold, RetrievalSummary::kCutoffs[i]);
    sums_.precision[i] += precision_at_k(ranked, gold, RetrievalSummary::kCutoffs[i]);
  }
}

void RetrievalMetrics::add(const RetrievalMetrics& other) {
  sums_.num_questions += other.sums_.num_questions;
  sums_.num_without_gold += other.sums_.num_without_gold;
  for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
    sums_.recall[i] += other.sums_.recall[i];
    sums_.precision[i] += other.sums_.precision[i];
  }
}

RetrievalSummary RetrievalMetrics::summary() const {
  RetrievalSummary means = sums_;
  if (means.num_questions == 0) return means;
  const auto count = static_cast<double>(means.num_questions);
  for (double& value : means.recall) value /= count;
  for (double& value : means.precision) value /= count;
  return means;
}

}  // namespace clara
