// What a document's latents hold, read back: the generator paraphrases from them, and the
// paraphrase is compared with the document.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/metrics/paraphrase_metrics.h"

namespace clara {

struct ParaphraseCheck {
  std::string document;
  std::string paraphrase;    ///< from the document's own latents
  std::string other_answer;  ///< from the next document's latents: what the form alone scores
  RougeScores own, other;    ///< against the document
  double own_name_recall = 0;
  double other_name_recall = 0;
};

struct ParaphraseSettings {
  std::int32_t instruction = 1;       ///< 1 to 13 (numerics §10)
  std::int64_t max_new_tokens = 256;  ///< of a paraphrase
  std::int64_t max_batch_tokens = 8192;
};

/// Greedy paraphrases of at least two different documents, in order. `progress` (optional) gets the
/// number of documents done. Throws ConfigError for the instruction, DataError for the documents.
std::vector<ParaphraseCheck> check_paraphrases(
    const OpenedModel& opened, const std::vector<std::string>& documents,
    const ParaphraseSettings& settings = {},
    const std::function<void(std::int64_t)>& progress = {});

}  // namespace clara
