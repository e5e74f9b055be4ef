// Inverse frequencies of the supported scalings.
#include "clara/model/rotary.h"

#include <cmath>
#include <numbers>

namespace clara {

torch::Tensor rotary_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim) {
  const torch::Tensor exponents = torch::arange(0, head_dim, 2, torch::kInt64).to(torch::kFloat32) /
                                  static_cast<double>(head_dim);
  torch::Tensor inverse = 1.0 / torch::pow(rope.theta, exponents);
  switch (rope.kind) {
    case RopeConfig::Kind::kDefault:
      return inverse;
    case RopeConfig::Kind::kLinear:
      return inverse / rope.factor;
    case RopeConfig::Kind::kLlama3:
      break;
  }
  // Llama 3: long wavelengths are stretched by the factor, short ones kept, those between
  // interpolated.
  const double low_wavelength = rope.original_max_positions / rope.low_freq_factor;
  const double high_wavelength = rope.original_max_positions / rope.high_freq_factor;
  const torch::Tensor wavelength = 2 * std::numbers::pi / inverse;
  const torch::Tensor stretched =
      torch::where(wavelength > low_wavelength, inverse / rope.factor, inverse);
  const torch::Tensor smooth = (rope.original_max_positions / wavelength - rope.low_freq_factor) /
                               (rope.high_freq_factor - rope.low_freq_factor);
  const torch::Tensor between = (1 - smooth) * stretched / rope.factor + smooth * stretched;
  const torch::Tensor is_between =
      (wavelength >= high_wavelength).logical_and(wavelength <= low_wavelength);
  return torch::where(is_between, between, stretched);
}

RotaryTable rotary_table(const torch::Tensor& inverse_frequencies, const torch::Tensor& positions) {
  const torch::Tensor angles = positions.to(torch::kFloat32).unsqueeze(1) *
                               inverse_frequencies.to(positions.device()).unsqueeze(0);
  return {angles.cos(), angles.sin()};
}

}  // namespace clara
