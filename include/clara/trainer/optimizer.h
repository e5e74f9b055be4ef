// AdamW over flat float32 buffers (numerics §7).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/config/run_config.h"
#include "clara/objectives/objective.h"
#include "clara/parallel/gradient_sync.h"

namespace clara {

/// Owns one flat buffer each for values, gradients and the two moments; the parameters become views
/// of them, so that clipping, reduction and the update are a few large operations.
class AdamW {
 public:
  /// Rebinds every parameter's storage and gradient to the flat buffers. Parameters are float32
  /// leaves on one device.
  AdamW(std::vector<TrainedParameter> parameters, const TrainerConfig& config);

  /// All gradients, [P] float32: what ranks sum.
  torch::Tensor& gradients() { return gradients_; }
  void zero_gradients() { gradients_.zero_(); }
  /// Every parameter's part of them, in the order in which a backward pass usually finishes them.
  std::vector<GradientSegment> gradient_segments() const;
  /// Global norm of the gradients, [] float32 on their device.
  torch::Tensor gradient_norm() const;
  /// Scales the gradients so that a global norm of `norm` becomes at most the configured one.
  void clip(double norm);
  /// One update. β, ε and decay as configured, bias-corrected.
  void step(double learning_rate);

  std::int64_t num_updates() const { return num_updates_; }
  std::int64_t num_values() const { return values_.numel(); }

  /// Moments by parameter name ("exp_avg/…", "exp_avg_sq/…") and "num_updates".
  std::map<std::string, torch::Tensor> state() const;
  /// Throws CheckpointError: a missing, extra or misshaped tensor is named.
  void load_state(const std::map<std::string, torch::Tensor>& state);

 private:
  struct Segment {
    std::string name;
    torch::Tensor parameter;
    std::int64_t begin, size;
    std::vector<std::int64_t> shape;
    double learning_rate_ratio;
  };
  std::vector<Segment> segments_;
  torch::Tensor values_, gradients_, exp_avg_, exp_avg_sq_;
  double beta1_, beta2_, weight_decay_, max_norm_;
  std::int64_t num_updates_ = 0;
};

}  // namespace clara
