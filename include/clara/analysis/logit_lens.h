// What an encoder's memory tokens say when the output head reads them (logit lens): the
// vocabulary's most probable tokens at each memory position.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/model/clara_model.h"

namespace clara {

struct LensToken {
  TokenId id = 0;
  std::string text;        ///< decoded; a part of a character as the vocabulary spells it
  double probability = 0;  ///< of the softmax over the base vocabulary
};

/// The reading of one text (a question of the query reasoner, a document of the compressor).
struct LensReading {
  std::string text;
  std::vector<std::vector<LensToken>> positions;  ///< M × num_top, falling probability
  std::vector<double> entropies;                  ///< M, nats, of the whole distribution
  /// Each token of `positions` once, by falling mean probability over all positions (0 where it is
  /// not among a position's top), num_top of them.
  std::vector<LensToken> overall;
};

struct LensSettings {
  AdapterRole adapter = AdapterRole::kQueryReasoner;
  std::int32_t num_top = 10;
  std::int64_t max_batch_tokens = 8192;
};

/// One reading for each text, in order. Throws ConfigError for num_top outside 1 … the vocabulary,
/// DataError for no texts or an empty one.
std::vector<LensReading> logit_lens(const OpenedModel& opened,
                                    const std::vector<std::string>& texts,
                                    const LensSettings& settings = {});

/// The share of a reading's distinct top words (tokens of at least three letters or digits) that
/// occur as words' beginnings in each of the texts, in lower case: what the memory tokens took over
/// from the question, and what they name that only the evidence holds.
struct LensOverlap {
  std::int64_t num_words = 0;
  double in_question = 0;       ///< [0, 1]
  double in_evidence_only = 0;  ///< in `evidence` and not in `question`
  double in_other_only = 0;     ///< in `others` (documents beside the point) and not in `question`
};

/// Texts may be empty; zeros where the reading has no such words.
LensOverlap lens_overlap(const LensReading& reading, const std::string& question,
                         const std::vector<std::string>& evidence,
                         const std::vector<std::string>& others);

}  // namespace clara
