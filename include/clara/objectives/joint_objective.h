// Joint training of retrieval and generation through a straight-through top-k (numerics §5: joint,
// §6; paper, section 3.2).
#pragma once

#include "clara/latents/document_latents.h"
#include "clara/model/clara_model.h"
#include "clara/model/selection.h"
#include "clara/objectives/objective.h"

namespace clara {

struct JointSettings {
  std::int64_t num_selected = 5;  ///< S
  double temperature = 0.02;      ///< τ
  TopkMask topk_mask = TopkMask::kLeaky;
  double lora_dropout = 0.1;
  bool activation_checkpointing = false;
};

/// Trains query reasoner and generator with the answer's cross-entropy alone; the compressor is
/// frozen.
class JointObjective final : public Objective {
 public:
  /// `documents` gives the frozen latents; both must outlive the objective.
  JointObjective(ClaraModel& model, DocumentLatents& documents, JointSettings settings);

  std::vector<TrainedParameter> trained_parameters() override;
  std::vector<TermSpec> terms(std::int64_t step) const override;
  std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const override;
  std::int64_t num_tokens(const Example& example) const override;
  std::vector<LossTerm> forward(const MicroBatch& batch, const MicroBatchContext& context) override;
  /// loss, recall@1/3/5 over the examples that have positives, num_with_positives.
  std::map<std::string, double> validate(const std::vector<Example>& examples,
                                         std::int64_t max_tokens_per_micro_batch) override;

 private:
  ClaraModel& model_;
  DocumentLatents& documents_;
  JointSettings settings_;
};

}  // namespace clara
