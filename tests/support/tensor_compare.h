// The one comparison of tensors in tests: shape, then values with the index of the worst one;
// tolerances by dtype.
#pragma once

#include <string>

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {

/// Largest allowed |actual − expected| relative to the largest |expected| (numerics §8).
inline double tolerance(torch::Dtype dtype) { return dtype == torch::kBFloat16 ? 5e-2 : 2e-4; }

/// Success, or what differs most and where.
inline ::testing::AssertionResult all_close(const torch::Tensor& actual_in,
                                            const torch::Tensor& expected_in, double relative) {
  if (actual_in.sizes() != expected_in.sizes()) {
    std::ostringstream message;
    message << "shape " << actual_in.sizes() << ", expected " << expected_in.sizes();
    return ::testing::AssertionFailure() << message.str();
  }
  if (expected_in.numel() == 0) return ::testing::AssertionSuccess();
  const torch::Tensor actual = actual_in.detach().to(torch::kCPU, torch::kFloat64);
  const torch::Tensor expected = expected_in.detach().to(torch::kCPU, torch::kFloat64);
  const torch::Tensor difference = (actual - expected).abs().reshape({-1});
  const double scale = expected.abs().max().item<double>();
  const auto worst = difference.argmax().item<std::int64_t>();
  const double found = difference[worst].item<double>();
  if (found <= relative * std::max(scale, 1e-30)) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure()
         << "flat index " << worst << ": " << actual.reshape({-1})[worst].item<double>()
         << ", expected " << expected.reshape({-1})[worst].item<double>() << " (largest value "
         << scale << ", allowed " << relative << " of it)";
}

/// ‖actual − expected‖ / ‖expected‖.
inline double relative_error(const torch::Tensor& actual, const torch::Tensor& expected) {
  const torch::Tensor a = actual.detach().to(torch::kCPU, torch::kFloat64),
                      e = expected.detach().to(torch::kCPU, torch::kFloat64);
  return (a - e).norm().item<double>() / std::max(e.norm().item<double>(), 1e-30);
}

inline double cosine(const torch::Tensor& a_in, const torch::Tensor& b_in) {
  const torch::Tensor a = a_in.detach().to(torch::kCPU, torch::kFloat64).reshape({-1});
  const torch::Tensor b = b_in.detach().to(torch::kCPU, torch::kFloat64).reshape({-1});
  return (a * b).sum().item<double>() /
         std::max(a.norm().item<double>() * b.norm().item<double>(), 1e-30);
}

}  // namespace clara::testing
