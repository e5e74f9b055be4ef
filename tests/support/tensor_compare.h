// The one comparison of tensors in tests: dtype, shape, then values with the index of the worst one
// (convention 10).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>

#include <gtest/gtest.h>
#include <torch/torch.h>

namespace clara::testing {

/// "[2, 0, 5]": the place of the element `flat` of a row-major tensor of these sizes; "[]" in a
/// scalar.
inline std::string multi_index(std::int64_t flat, torch::IntArrayRef sizes) {
  std::string text;
  for (std::size_t d = sizes.size(); d-- > 0;) {
    text = std::to_string(flat % sizes[d]) + (text.empty() ? "" : ", ") + text;
    flat /= sizes[d];
  }
  return "[" + text + "]";
}

/// Success where dtype and shape are the same and no value is further off than `relative` of the
/// largest |expected|; otherwise what differs: the first value that is too far off, and the worst
/// one, each with its index. NaN is never near. Where the dtypes are not meant to agree (a bfloat16
/// result against a float64 statement) the caller converts one side.
inline ::testing::AssertionResult all_close(const torch::Tensor& actual_in,
                                            const torch::Tensor& expected_in, double relative) {
  std::ostringstream message;
  if (actual_in.scalar_type() != expected_in.scalar_type()) {
    message << "dtype " << actual_in.scalar_type() << ", expected " << expected_in.scalar_type();
    return ::testing::AssertionFailure() << message.str();
  }
  if (actual_in.sizes() != expected_in.sizes()) {
    message << "shape " << actual_in.sizes() << ", expected " << expected_in.sizes();
    return ::testing::AssertionFailure() << message.str();
  }
  if (expected_in.numel() == 0) return ::testing::AssertionSuccess();
  const torch::Tensor actual =
      actual_in.detach().to(torch::kCPU, torch::kFloat64).contiguous().reshape({-1});
  const torch::Tensor expected =
      expected_in.detach().to(torch::kCPU, torch::kFloat64).contiguous().reshape({-1});
  const torch::Tensor difference = (actual - expected).abs();
  const double scale = expected.abs().max().item<double>();
  const double allowed = relative * std::max(scale, 1e-30);
  // Not "further than allowed": a NaN must not pass.
  const torch::Tensor wrong = difference.le(allowed).logical_not();
  const auto num_wrong = wrong.sum().item<std::int64_t>();
  if (num_wrong == 0) return ::testing::AssertionSuccess();
  const auto describe = [&](std::int64_t flat) {
    message << multi_index(flat, expected_in.sizes()) << ": " << actual[flat].item<double>()
            << ", expected " << expected[flat].item<double>();
  };
  message.precision(9);
  message << num_wrong << " of " << expected.numel() << " values differ by more than " << relative
          << " of the largest, " << scale << "; the first at ";
  describe(wrong.to(torch::kUInt8).argmax().item<std::int64_t>());
  message << "; the worst at ";
  describe(difference.argmax().item<std::int64_t>());
  return ::testing::AssertionFailure() << message.str();
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
