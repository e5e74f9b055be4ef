// Each thread reads a range of the weight's rows once, for all rows of x.
#include "model/few_rows_product.h"

#include <algorithm>
#include <cstring>

#include "common/cpu_clones.h"
#include "common/cpu_math.h"
#include "model/cpu_kernels.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>

namespace clara {
namespace {

constexpr std::int64_t kLanes = 8;
using Lanes = float __attribute__((vector_size(kLanes * sizeof(float))));
using BitLanes = std::uint32_t __attribute__((vector_size(kLanes * sizeof(std::uint32_t))));
using Bf16Lanes = cpu::Bf16 __attribute__((vector_size(kLanes * sizeof(cpu::Bf16))));

constexpr std::int64_t kMinMacsPerThread = 1 << 16;

/// T is the type of weights and results; x is in float32.
template <typename T>
struct Operands {
  const float* x;
  std::int64_t x_stride;
  const T* w;
  std::int64_t w_stride;
  std::int64_t length;  // of a dot product
  T* y;
  std::int64_t y_stride;
  float scale;
  bool add;
};

// By reference: a vector as an argument would have another calling convention in each clone.
CLARA_INLINE void load_lanes(const float* p, Lanes& v) { std::memcpy(&v, p, sizeof v); }
CLARA_INLINE void load_lanes(const cpu::Bf16* p, Lanes& v) {
  Bf16Lanes narrow;
  std::memcpy(&narrow, p, sizeof narrow);
  const BitLanes bits = __builtin_convertvector(narrow, BitLanes) << 16;
  std::memcpy(&v, &bits, sizeof v);
}

CLARA_INLINE float sum(const Lanes& v) {
  return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/// Two rows of w, from `o`, with `kRows` rows of x, from `row`. With `kPair` = 1 only the first.
template <int kRows, int kPair, typename T>
CLARA_INLINE void dot_block(const Operands<T>& a, std::int64_t row, std::int64_t o) {
  const T* w[kPair];
  for (int j = 0; j < kPair; ++j) w[j] = a.w + (o + j) * a.w_stride;
  Lanes total[kPair][kRows] = {};
  std::int64_t k = 0;
  for (; k + kLanes <= a.length; k += kLanes) {
    Lanes weights[kPair];
    for (int j = 0; j < kPair; ++j) load_lanes(w[j] + k, weights[j]);
    for (int r = 0; r < kRows; ++r) {
      Lanes values;
      load_lanes(a.x + (row + r) * a.x_stride + k, values);
      for (int j = 0; j < kPair; ++j) total[j][r] += values * weights[j];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    const float* x = a.x + (row + r) * a.x_stride;
    for (int j = 0; j < kPair; ++j) {
      float value = sum(total[j][r]);
      for (std::int64_t rest = k; rest < a.length; ++rest)
        value += x[rest] * cpu::load(w[j] + rest);
      T* place = a.y + (row + r) * a.y_stride + o + j;
      cpu::store(place, (a.add ? cpu::load(place) : 0.0F) + a.scale * value);
    }
  }
}

template <int kPair, typename T>
CLARA_INLINE void all_rows(const Operands<T>& a, std::int64_t num_rows, std::int64_t o) {
  std::int64_t row = 0;
  for (; row + 4 <= num_rows; row += 4) dot_block<4, kPair>(a, row, o);
  for (; row < num_rows; ++row) dot_block<1, kPair>(a, row, o);
}

template <typename T>
CLARA_INLINE void weight_rows(const Operands<T>& a, std::int64_t num_rows, std::int64_t begin,
                              std::int64_t end) {
  std::int64_t o = begin;
  for (; o + 2 <= end; o += 2) all_rows<2>(a, num_rows, o);
  for (; o < end; ++o) all_rows<1>(a, num_rows, o);
}
CLARA_FMA_CLONES void weight_rows_f32(const Operands<float>& a, std::int64_t num_rows,
                                      std::int64_t begin, std::int64_t end) {
  weight_rows(a, num_rows, begin, end);
}
CLARA_FMA_CLONES void weight_rows_bf16(const Operands<cpu::Bf16>& a, std::int64_t num_rows,
                                       std::int64_t begin, std::int64_t end) {
  weight_rows(a, num_rows, begin, end);
}

bool is_few(const torch::Tensor& x, const torch::Tensor& w) {
  const auto dtype = x.scalar_type();
  return cpu::take(x) && (dtype == torch::kFloat32 || dtype == torch::kBFloat16) &&
         w.scalar_type() == dtype && x.size(0) <= kFewRows && x.stride(1) == 1 && w.stride(1) == 1;
}

template <typename T, typename Kernel>
void run(Kernel kernel, const torch::Tensor& x, const torch::Tensor& w, double scale, bool add,
         torch::Tensor& y) {
  const Operands<T> a{x.const_data_ptr<float>(),
                      x.stride(0),
                      static_cast<const T*>(w.const_data_ptr()),
                      w.stride(0),
                      x.size(1),
                      static_cast<T*>(y.mutable_data_ptr()),
                      y.stride(0),
                      static_cast<float>(scale),
                      add};
  const std::int64_t macs_per_row = std::max<std::int64_t>(1, x.size(0) * x.size(1));
  at::parallel_for(0, w.size(0), std::max<std::int64_t>(2, kMinMacsPerThread / macs_per_row),
                   [&](std::int64_t begin, std::int64_t end) { kernel(a, x.size(0), begin, end); });
}

void product(const torch::Tensor& x, const torch::Tensor& w, double scale, bool add,
             torch::Tensor& y) {
  if (w.scalar_type() == torch::kBFloat16) {
    run<cpu::Bf16>(weight_rows_bf16, x.to(torch::kFloat32), w, scale, add, y);
  } else {
    run<float>(weight_rows_f32, x, w, scale, add, y);
  }
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
  if (is_few(x, w) && y.stride(1) == 1 && y.scalar_type() == w.scalar_type()) {
    product(x, w, scale, /*add=*/true, y);
  } else {
    y.addmm_(x, w.t(), 1, scale);
  }
}

}  // namespace clara
