// Inverse frequencies of the supported scalings.
#include "clara/model/rotary.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "common/device_copy.h"
#include <torch/torch.h>

namespace clara {

torch::Tensor rotary_inverse_frequencies(const RopeConfig& rope, std::int64_t head_dim,
                                         bool is_long) {
  const std::int64_t dims = rope.rotary_dims(head_dim);
  const torch::Tensor exponents =
      torch::arange(0, dims, 2, torch::kInt64).to(torch::kFloat32) / static_cast<double>(dims);
  torch::Tensor inverse = 1.0 / torch::pow(rope.theta, exponents);
  switch (rope.kind) {
    case RopeConfig::Kind::kDefault:
      return inverse;
    case RopeConfig::Kind::kLinear:
      return inverse / rope.factor;
    case RopeConfig::Kind::kLongRope:
      return 1.0 / (torch::tensor(is_long ? rope.long_factor : rope.short_factor, torch::kFloat32) *
                    torch::pow(rope.theta, exponents));
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

RotaryTable rotary_table(const torch::Tensor& inverse_frequencies, const torch::Tensor& positions,
                         double scale) {
  const torch::Tensor angles =
      positions.to(torch::kFloat32).unsqueeze(1) * inverse_frequencies.to(positions.device());
  if (scale == 1.0) return {angles.cos(), angles.sin()};
  return {angles.cos() * scale, angles.sin() * scale};
}

RotaryEmbedding::RotaryEmbedding(const RopeConfig& rope, std::int64_t head_dim,
                                 torch::Device device)
    : short_(rotary_inverse_frequencies(rope, head_dim).to(device)),
      limit_(std::numeric_limits<std::int64_t>::max()) {
  if (rope.kind != RopeConfig::Kind::kLongRope) return;
  long_ = rotary_inverse_frequencies(rope, head_dim, /*is_long=*/true).to(device);
  scale_ = rope.attention_factor;
  limit_ = static_cast<std::int64_t>(rope.original_max_positions);
}

RotaryTable RotaryEmbedding::of_sequences(const PackedLayout& layout) const {
  if (layout.longest() <= limit_) return rotary_table(short_, layout.positions(), scale_);
  std::vector<std::int64_t> is_long;
  for (std::int64_t n = 0; n < layout.num_sequences(); ++n) {
    is_long.insert(is_long.end(), static_cast<std::size_t>(layout.length(n)),
                   layout.length(n) > limit_ ? 1 : 0);
  }
  const torch::Tensor which = to_device(is_long, short_.device());
  return rotary_table(torch::stack({short_, long_}).index_select(0, which), layout.positions(),
                      scale_);
}

RotaryTable RotaryEmbedding::of_last_tokens(const torch::Tensor& positions) const {
  if (!long_.defined()) return rotary_table(short_, positions, scale_);
  const torch::Tensor is_long = positions.ge(limit_).to(torch::kInt64);
  return rotary_table(torch::stack({short_, long_}).index_select(0, is_long), positions, scale_);
}

}  // namespace clara
