// What loops for the CPU are written with: bfloat16, e^x, sums in a fixed order.
#pragma once

#include <bit>
#include <cstdint>

#include "common/cpu_clones.h"

namespace clara::cpu {

using Bf16 = std::uint16_t;  ///< the bits of a bfloat16

CLARA_INLINE float load(const float* p) { return *p; }
CLARA_INLINE float load(const Bf16* p) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(*p) << 16);
}
CLARA_INLINE void store(float* p, float v) { *p = v; }
/// The bits of v rounded to bfloat16's precision, to nearest even; the lower half is not cleared.
/// Infinities survive, and the quiet NaNs that arithmetic makes.
CLARA_INLINE std::uint32_t bits_rounded_to_bf16(float v) {
  const auto bits = std::bit_cast<std::uint32_t>(v);
  return bits + 0x7FFFU + ((bits >> 16) & 1U);
}
CLARA_INLINE void store(Bf16* p, float v) { *p = static_cast<Bf16>(bits_rounded_to_bf16(v) >> 16); }
/// What a store and a load make of v, in 32-bit operations alone: a loop that went through 16 bits
/// and back would not be vectorised.
template <typename T>
CLARA_INLINE float rounded(float v) {
  if constexpr (sizeof(T) == sizeof(float)) return v;
  return std::bit_cast<float>(bits_rounded_to_bf16(v) & 0xFFFF0000U);
}

/// e^x for float32 to about 1e-7 relative; results below 2^-126 become 0.
CLARA_INLINE float exp_f32(float x) {
  const float clamped = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  // Adding and subtracting 1.5 · 2^23 rounds to the nearest integer; ln 2 is taken off in two
  // parts, the first exact.
  const float n = (clamped * 1.44269504088896341F + 12582912.0F) - 12582912.0F;
  const float r = (clamped - n * 0.693145751953125F) - n * 1.42860682030941723212e-6F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * (r * r) + r + 1.0F;
  const auto exponent = static_cast<std::uint32_t>(static_cast<std::int32_t>(n) + 127) << 23;
  const float result = p * std::bit_cast<float>(exponent);
  return x < -87.0F ? 0.0F : result;
}

/// Sum of f(i) over [0, n) in 16 running sums, so that the order is fixed and the loop vectorises.
template <typename F>
CLARA_INLINE float lane_sum(std::int64_t n, F f) {
  float lanes[16] = {};
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int l = 0; l < 16; ++l) lanes[l] += f(i + l);
  }
  for (int l = 0; i + l < n; ++l) lanes[l] += f(i + l);
  for (int width = 8; width > 0; width /= 2) {
    for (int l = 0; l < width; ++l) lanes[l] += lanes[l + width];
  }
  return lanes[0];
}

}  // namespace clara::cpu
