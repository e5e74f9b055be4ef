// What a training stage is to the trainer: examples in, named loss terms out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/data/example.h"

namespace clara {

/// One term of the loss of a micro-batch: a sum, never a mean.
struct LossTerm {
  std::string name;   ///< "cross_entropy", "alignment", …
  torch::Tensor sum;  ///< float32 scalar; differentiable in training passes
};

/// What the step's sums of a term are divided by and weighted with.
struct TermSpec {
  std::string name;
  double weight = 1;  ///< 0: reported, not trained on
};

/// A parameter that the objective trains.
struct TrainedParameter {
  std::string name;      ///< "<adapter>/<PEFT key>" or "memory_rows"
  torch::Tensor tensor;  ///< float32 leaf that requires grad
  double learning_rate_ratio = 1.0;
};

/// Where a micro-batch stands, for everything that is drawn anew in it.
struct MicroBatchContext {
  std::int64_t step = 0;  ///< finished optimizer steps
  std::int64_t rank = 0;
  std::int64_t micro_batch = 0;  ///< number within the step and rank
  std::uint64_t seed = 0;        ///< the run's seed
  bool training = true;          ///< LoRA dropout and gradients
};

using MicroBatch = std::vector<const Example*>;

/// A training stage. It owns no optimizer, logs nothing and talks to no other process.
class Objective {
 public:
  Objective() = default;
  Objective(const Objective&) = delete;
  Objective& operator=(const Objective&) = delete;
  virtual ~Objective() = default;

  /// Everything that is trained, in a fixed order. Nothing else may require grad.
  virtual std::vector<TrainedParameter> trained_parameters() = 0;

  /// The loss terms that are active in `step`; the same names as forward() returns.
  virtual std::vector<TermSpec> terms(std::int64_t step) const = 0;

  /// What one example adds to the count that each term of `step` is divided by, in the order of
  /// terms().
  virtual std::vector<std::int64_t> counts(const Example& example, std::int64_t step) const = 0;

  /// Tokens that the passes over this example read: the trainer fills micro-batches by it.
  virtual std::int64_t num_tokens(const Example& example) const = 0;

  /// The terms of a micro-batch, in the order of terms().
  virtual std::vector<LossTerm> forward(const MicroBatch& batch,
                                        const MicroBatchContext& context) = 0;

  /// Metrics over held-out examples, without gradients: "loss", "latent_gap", "recall@5", …
  virtual std::map<std::string, double> validate(const std::vector<Example>& examples,
                                                 std::int64_t max_tokens_per_micro_batch) = 0;
};

}  // namespace clara
