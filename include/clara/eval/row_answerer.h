// From a question and its candidates to an answer: select, build the prompt, generate (paper,
// section 3; numerics §6, §9).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/data/prompts.h"
#include "clara/eval/candidates.h"
#include "clara/eval/eval_settings.h"
#include "clara/eval/report.h"
#include "clara/eval/text_ranker.h"
#include "clara/latents/document_latents.h"
#include "clara/model/clara_model.h"

namespace clara {

/// One question to answer.
struct AnswerRequest {
  std::string question;
  Candidates candidates;
  std::uint64_t row = 0;  ///< draws the random selection
  std::string place;      ///< for messages: "file:line"
};

struct RowAnswer {
  std::string text;
  std::vector<std::int32_t> ranking;   ///< all candidates, best first; empty where none are used
  std::vector<float> scores;           ///< by candidate; empty where the selector has none
  std::vector<std::int32_t> selected;  ///< in the prompt, in its order
};

/// Latents of documents are made once while they are kept (in memory, up to a limit).
class RowAnswerer {
 public:
  /// `opened` must outlive this. Throws as open_text_ranker() for the settings' encoder.
  RowAnswerer(const OpenedModel& opened, const EvalSettings& settings);

  /// Answers a group of questions together. Throws DataError with the row's place where not even
  /// the question fits the prompt.
  std::vector<RowAnswer> answer(const std::vector<AnswerRequest>& requests);

  /// Documents cut, prompts shortened, documents encoded, tokens generated so far.
  EvalCounts counts() const;
  /// Seconds spent so far on encoding and on generating.
  EvalTimes times() const { return times_; }

 private:
  struct Prompt {
    TokenIds ids;
    std::size_t num_documents = 0;
  };

  Prompt fit_prompt(const AnswerRequest& request, const std::vector<std::int32_t>& selected);
  std::vector<TokenIds> document_ids(const AnswerRequest& request,
                                     const std::vector<std::int32_t>& wanted);
  torch::Tensor fetch_latents(const std::vector<TokenIds>& documents);
  /// Ranks the candidates of a request by what is no model of this project's own.
  void rank_by_text(const AnswerRequest& request, RowAnswer& answer);
  /// Ranks the candidates of all requests by the query reasoner; latents [all candidates, M, D].
  torch::Tensor rank_by_query_reasoner(const std::vector<AnswerRequest>& requests,
                                       std::vector<RowAnswer>& answers);

  const OpenedModel& opened_;
  EvalSettings settings_;
  PromptBuilder prompts_;
  std::int64_t max_prompt_and_answer_ = 0;
  std::unique_ptr<const TextRanker> text_ranker_;  // null: the selector needs none
  std::optional<DocumentLatents> latents_;
  std::int64_t num_encoded_before_ = 0;  // by earlier stores
  EvalCounts counts_;
  EvalTimes times_;
};

}  // namespace clara
