// The candidates of a question under a setting, and their order under the selectors that need no
// model (numerics §9). Needs no LibTorch.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "clara/data/records.h"
#include "clara/eval/eval_settings.h"

namespace clara {

/// The K documents that a selector ranks.
struct Candidates {
  std::vector<std::string> documents;
  /// Where each came from: i for document i of the record, −1 − j for its gold document j.
  std::vector<std::int32_t> origins;
  /// Gold documents, by their place in `documents`.
  std::vector<std::int32_t> positives;
  /// Gold documents in all: those that are no candidates count too, so that recall has its full
  /// denominator.
  std::int32_t num_gold = 0;
};

/// Gold are the documents that `pos_index` marks and the texts of `gold_docs`, equal texts once.
/// Normal: the record's documents as they are. Oracle: gold documents that are no candidates
/// replace the lowest-ranked ones that are not gold (with more gold than candidates, the list grows
/// to hold them all); then the list is put in an order drawn from (seed, row). A row without gold
/// documents only changes its order. `given` puts the first num_selected of the candidates in the
/// prompt, so for it Oracle cuts the list to these before the gold documents come in: they would be
/// shuffled out of the prompt otherwise.
Candidates make_candidates(const QaRecord& record, const EvalSettings& settings, std::uint64_t row);

/// All candidates, best first, ties to the lower index. `scores` (optional) receives the score of
/// each candidate where the selector has one (bm25), else nothing. query_reasoner, dense
/// and cross_encoder are an Error: their order comes from a model.
std::vector<std::int32_t> rank_candidates(const Candidates& candidates, std::string_view question,
                                          const EvalSettings& settings, std::uint64_t row,
                                          std::vector<float>* scores = nullptr);

/// Indices of `scores` by descending score, ties to the lower index.
std::vector<std::int32_t> descending_order(const std::vector<float>& scores);

}  // namespace clara
