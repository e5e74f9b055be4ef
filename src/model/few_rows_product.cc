// Each thread reads a range of the weight's rows once, for all rows of x.
#include "model/few_rows_product.h"

#include <algorithm>
#include <cstring>

#include "common/cpu_clones.h"
#include "model/cpu_kernels.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

namespace clara {
namespace {

constexpr std::int64_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));

constexpr std::int64_t kMinMacsPerThread = 1 << 16;

struct Operands {
  const float* x;
  std::int64_t x_stride;
  const float* w;
  std::int64_t w_stride;
  std::int64_t length;  // of a dot product
  float* y;
  std::int64_t y_stride;
  float scale;
  bool add;
};

// By reference: a vector as an argument would have another calling convention in each clone.
CLARA_INLINE void load(const float* p, Lanes& v) { std::memcpy(&v, p, sizeof v); }

CLARA_INLINE float sum(const Lanes& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/// Two rows of w, from `o`, with `kRows` rows of x, from `row`. With `kPair` = 1 only the first.
template <int kRows, int kPair>
CLARA_INLINE void dot_block(const Operands& a, std::int64_t row, std::int64_t o) {
  const float* w[kPair];
  for (int j = 0; j < kPair; ++j) w[j] = a.w + (o + j) * a.w_stride;
  Lanes total[kPair][kRows] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= a.length; k += kLanes) {
    Lanes weights[kPair];
    for (int j = 0; j < kPair; ++j) load(w[j] + k, weights[j]);
    for (int r = 0; r < kRows; ++r) {
      Lanes values;
      load(a.x + (row + r) * a.x_stride + k, values);
      for (int j = 0; j < kPair; ++j) total[j][r] += values * weights[j];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float* x = a.x + (row + r) * a.x_stride;
    for (int j = 0; j < kPair; ++j) {
      float value = sum(total[j][r]);
      for (std::int64_t rest = k; rest < a.length; ++rest) value += x[rest] * w[j][rest];
      float* place = a.y + (row + r) * a.y_stride + o + j;
      *place = (a.add ? *place : 0.0F) + a.scale * value;
    }
  }
}

template <int kPair>
CLARA_INLINE void all_rows(const Operands& a, std::int64_t num_rows, std::int64_t o) {
  std::int64_t row = 0;
  for (; row + 4 <= num_rows; row += 4) dot_block<4, kPair>(a, row, o);
  for (; row < num_rows; ++row) dot_block<1, kPair>(a, row, o);
}

CLARA_CPU_CLONES void weight_rows(const Operands& a, std::int64_t num_rows, std::int64_t begin,
                                  std::int64_t end) {
  std::int64_t o = begin;
  for (; o + 2 <= end; o += 2) all_rows<2>(a, num_rows, o);
  for (; o < end; ++o) all_rows<1>(a, num_rows, o);
}

bool is_few(const torch::Tensor& x, const torch::Tensor& w) {
  return cpu::take(x) && x.scalar_type() == torch::kFloat32 && w.scalar_type() == torch::kFloat32 &&
         x.size(0) <= kFewRows && x.stride(1) == 1 && w.stride(1) == 1;
}

void product(const torch::Tensor& x, const torch::Tensor& w, double scale, bool add,
             torch::Tensor& y) {
  const Operands a{
      x.const_data_ptr<float>(),   x.stride(0), w.const_data_ptr<float>(), w.stride(0), x.size(1),
      y.mutable_data_ptr<float>(), y.stride(0), static_cast<float>(scale), add};
  const std::int64_t macs_per_row = std::max<std::int64_t>(1, x.size(0) * x.size(1));
  at::parallel_for(
      0, w.size(0), std::max<std::int64_t>(2, kMinMacsPerThread / macs_per_row),
      [&](std::int64_t begin, std::int64_t end) { weight_rows(a, x.size(0), begin, end); });
}

}  // namespace

torch::Tensor frozen_product(const torch::Tensor& x, const torch::Tensor& w) {
  if (!is_few(x, w)) return torch::mm(x, w.t());
  torch::Tensor y = torch::empty({x.size(0), w.size(0)}, x.options());
  product(x, w, 1.0, /*add=*/false, y);
  return y;
}

void add_frozen_product(torch::Tensor& y, const torch::Tensor& x, const torch::Tensor& w,
                        double scale) {
  if (is_few(x, w) && y.stride(1) == 1) {
    product(x, w, scale, /*add=*/true, y);
  } else {
    y.addmm_(x, w.t(), 1, scale);
  }
}

}  // namespace clara
