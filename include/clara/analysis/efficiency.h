// What compression buys at inference: times of compressing, of encoding and ranking a question, and
// of answering from latents and from the documents' text.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/data/records.h"

namespace clara {

struct EfficiencySettings {
  std::int32_t num_selected = 5;     ///< documents in the prompt
  std::int64_t max_new_tokens = 16;  ///< decoded for every question, none ends earlier
  std::int32_t repetitions = 3;      ///< the fastest counts
  std::int64_t max_batch_tokens = 8192;
};

/// Seconds are the least of the repetitions, divided by the number of documents or questions.
struct Efficiency {
  std::int32_t compression_rate = 0;
  std::int32_t num_memory_tokens = 0;
  std::int64_t num_documents = 0;  ///< compressed
  std::int64_t num_questions = 0;
  double compress_seconds = 0;      ///< a document
  double question_seconds = 0;      ///< encoding a question
  double rank_seconds = 0;          ///< cosines with its candidates and their order
  double prompt_tokens = 0;         ///< mean, with latents
  double text_prompt_tokens = 0;    ///< mean, with the texts of as many documents
  double prefill_seconds = 0;       ///< a question: prompt with latents to the first token
  double text_prefill_seconds = 0;  ///< prompt with texts
  double decode_seconds = 0;        ///< a further token, with latents
  double text_decode_seconds = 0;   ///< with texts
  std::int64_t latent_bytes = 0;    ///< of a stored document in the base's dtype
};

/// Measures on the questions' first num_selected candidates. Throws DataError where there are no
/// questions or one has no documents or does not fit the base model.
Efficiency measure_efficiency(const OpenedModel& opened, const std::vector<QaRecord>& questions,
                              const EfficiencySettings& settings = {});

}  // namespace clara
