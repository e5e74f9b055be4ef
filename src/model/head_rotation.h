// Rotary of one head of one token, for loops on the CPU (numerics §8: the halves convention of
// transformers).
#pragma once

#include <cstdint>

#include "common/cpu_math.h"

namespace clara::cpu {

/// A token's angles: the first 2·half dimensions of a head are rotated. sign +1 rotates, −1 is the
/// transpose.
struct HeadAngles {
  const float* cos;
  const float* sin;
  std::int64_t half;
  float sign = 1.0F;
};

/// out = the rotated head, times `scale`; what lies behind the rotated dimensions is scaled alone.
template <typename From, typename To>
CLARA_INLINE void rotate_head(const From* in, To* out, const HeadAngles& angles,
                              std::int64_t head_dim, float scale) {
  const std::int64_t half = angles.half;
  for (std::int64_t i = 0; i < half; ++i) {
    const float first = load(in + i), second = load(in + half + i);
    const float c = angles.cos[i] * scale, s = angles.sin[i] * angles.sign * scale;
    store(out + i, first * c - second * s);
    store(out + half + i, second * c + first * s);
  }
  for (std::int64_t i = 2 * half; i < head_dim; ++i) store(out + i, load(in + i) * scale);
}

}  // namespace clara::cpu
