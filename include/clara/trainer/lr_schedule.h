// Learning rate of each update (numerics §7).
#pragma once

#include <cstdint>

#include "clara/config/run_config.h"

namespace clara {

/// Warm-up, then cosine to a fraction of the peak, or constant.
class LearningRateSchedule {
 public:
  LearningRateSchedule(const TrainerConfig& config, std::int64_t total_steps);
  /// Rate of the update after `step` finished updates: peak · min(1, (u+1)/w) in the warm-up of w =
  /// ⌈ratio · steps⌉ updates.
  double rate(std::int64_t step) const;
  std::int64_t warmup_steps() const { return warmup_steps_; }

 private:
  double peak_;
  double minimum_ratio_;
  bool cosine_;
  std::int64_t warmup_steps_;
  std::int64_t total_steps_;
};

}  // namespace clara
