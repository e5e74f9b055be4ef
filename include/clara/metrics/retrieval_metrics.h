// Recall and precision of the first k documents of a ranking, for k = 1, 3, 5 (numerics §9). Std
// only.
#pragma once

#include <array>
#include <cstdint>
#include <span>

namespace clara {

/// |gold ∩ first k of ranked| / |gold|. Documents are any numbers; a document that stands twice in
/// either list counts once, at its first place. Throws std::invalid_argument if k < 1 or gold is
/// empty.
double recall_at_k(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold,
                   std::int32_t k);

/// |gold ∩ first k of ranked| / k, also where fewer than k are ranked. Throws as recall_at_k.
double precision_at_k(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold,
                      std::int32_t k);

/// Means over the questions that have gold documents.
struct RetrievalSummary {
  static constexpr std::array<std::int32_t, 3> kCutoffs = {1, 3, 5};
  std::array<double, 3> recall{};     ///< at kCutoffs; zeros where num_questions is 0
  std::array<double, 3> precision{};  ///< at kCutoffs
  std::int64_t num_questions = 0;     ///< those with gold documents
  std::int64_t num_without_gold = 0;  ///< left out of the means
};

/// Sums over questions; two sums of different questions can be added (ranks of a run, say).
class RetrievalMetrics {
 public:
  /// One question: documents best first, and its gold documents (may be empty: counted apart).
  void add(std::span<const std::int32_t> ranked, std::span<const std::int32_t> gold);
  void add(const RetrievalMetrics& other);
  RetrievalSummary summary() const;

 private:
  RetrievalSummary sums_;
};

}  // namespace clara
