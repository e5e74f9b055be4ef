// Instruction tuning of the generator without compression: it answers from the documents' text, or
// from the question alone (numerics §5; the paper's full-text baseline, section 4).
#pragma once

#include "clara/model/clara_model.h"
#include "clara/objectives/objective.h"

namespace clara {

struct GeneratorSettings {
  double lora_dropout = 0.1;
  bool activation_checkpointing = false;
};

/// Trains the generator alone, on the answer's cross-entropy. Examples have no documents and no
/// memory tokens: what there is to read stands in the prompt.
class GeneratorObjective final : public Objective {
 public:
  /// Marks exactly its parameters as trained. The model must outlive the objective.
  GeneratorObjective(ClaraModel& model, GeneratorSettings settings);

  std::vector<TrainedParameter> trained_parameters() override;
  std::vector<TermSpec> terms(std::int64_t step) const override;
  std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const override;
  std::int64_t num_tokens(const Example& example) const override;
  std::vector<LossTerm> forward(const MicroBatch& batch, const MicroBatchContext& context) override;
  /// loss.
  std::map<std::string, double> validate(const std::vector<Example>& examples,
                                         std::int64_t max_tokens_per_micro_batch) override;

 private:
  ClaraModel& model_;
  GeneratorSettings settings_;
};

}  // namespace clara
