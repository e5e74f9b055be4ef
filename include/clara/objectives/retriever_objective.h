// The supervised retriever baseline (numerics §5; the paper's Sup- rows).
#pragma once

#include "clara/latents/document_latents.h"
#include "clara/model/clara_model.h"
#include "clara/objectives/objective.h"

namespace clara {

struct RetrieverSettings {
  double temperature = 0.02;  ///< τ
  double lora_dropout = 0.1;
  bool activation_checkpointing = false;
};

/// Trains the query reasoner alone, with relevance labels.
class RetrieverObjective final : public Objective {
 public:
  RetrieverObjective(ClaraModel& model, DocumentLatents& documents, RetrieverSettings settings);

  std::vector<TrainedParameter> trained_parameters() override;
  std::vector<TermSpec> terms(std::int64_t step) const override;
  /// 1 for an example with positives, else 0.
  std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const override;
  std::int64_t num_tokens(const Example& example) const override;
  std::vector<LossTerm> forward(const MicroBatch& batch, const MicroBatchContext& context) override;
  /// loss, recall@1/3/5, num_with_positives.
  std::map<std::string, double> validate(const std::vector<Example>& examples,
                                         std::int64_t max_tokens_per_micro_batch) override;

 private:
  ClaraModel& model_;
  DocumentLatents& documents_;
  RetrieverSettings settings_;
};

}  // namespace clara
