// Salient compressor pretraining and compression instruction tuning (numerics §5: scp, tune; paper,
// section 3.1).
#pragma once

#include <memory>
#include <vector>

#include "clara/config/run_config.h"
#include "clara/model/clara_model.h"
#include "clara/objectives/loss_terms.h"
#include "clara/objectives/objective.h"

namespace clara {

struct CompressionSettings {
  double alignment_weight = 0.1;  ///< λ
  LatentTokenLossConfig latent_token_loss;
  double lora_dropout = 0.1;
  double memory_learning_rate_ratio = 1.0;
  bool activation_checkpointing = false;
  std::int32_t bos_id = -1;  ///< of compressor inputs, which the warm-up term leaves out; -1: none
  std::int32_t eos_id = -1;
  std::vector<float> token_weights;  ///< as LatentTokenTargets::token_weights
};

/// Trains compressor, generator and memory rows: L = CE + λ · alignment (+ the warm-up term). scp
/// and tune differ in their examples alone.
class CompressionObjective final : public Objective {
 public:
  /// Marks exactly its parameters as trained. The model must outlive the objective. Throws
  /// ConfigError for token weights that are not V numbers above 0.
  CompressionObjective(ClaraModel& model, CompressionSettings settings);

  std::vector<TrainedParameter> trained_parameters() override;
  std::vector<TermSpec> terms(std::int64_t step) const override;
  std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const override;
  std::int64_t num_tokens(const Example& example) const override;
  std::vector<LossTerm> forward(const MicroBatch& batch, const MicroBatchContext& context) override;
  /// loss, latent_gap (numerics §9), alignment, latent_cosine, latent_between_variance.
  std::map<std::string, double> validate(const std::vector<Example>& examples,
                                         std::int64_t max_tokens_per_micro_batch) override;

 private:
  bool latent_token_loss_active(std::int64_t step) const;
  bool cross_entropy_active(std::int64_t step) const;

  ClaraModel& model_;
  CompressionSettings settings_;
  LatentTokenTargets latent_token_targets_;
};

}  // namespace clara
