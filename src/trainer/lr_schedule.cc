// Warm-up from peak / w, cosine to a floor.
#include "clara/trainer/lr_schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace clara {

LearningRateSchedule::LearningRateSchedule(const TrainerConfig& config, std::int64_t total_steps)
    : peak_(config.peak_learning_rate),
      minimum_ratio_(config.min_learning_rate_ratio),
      cosine_(config.schedule == "cosine"),
      warmup_steps_(static_cast<std::int64_t>(
          std::ceil(config.warmup_ratio * static_cast<double>(total_steps)))),
      total_steps_(total_steps) {}

double LearningRateSchedule::rate(std::int64_t step) const {
  if (step < warmup_steps_)
    return peak_ * static_cast<double>(step + 1) / static_cast<double>(warmup_steps_);
  if (!cosine_) return peak_;
  const double progress = std::min(
      1.0, static_cast<double>(step - warmup_steps_) /
               static_cast<double>(std::max<std::int64_t>(1, total_steps_ - warmup_steps_)));
  return peak_ * (minimum_ratio_ +
                  (1 - minimum_ratio_) * 0.5 * (1 + std::cos(std::numbers::pi * progress)));
}

}  // namespace clara
