// Each thread reads a range of the weights' rows once, for all rows of x. What LoRA adds is a
// second part of the same dot products: y = x Wᵀ + u Bᵀ, where u = scale · x Aᵀ.
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

using torch::Tensor;

constexpr std::int64_t kMinMacsPerThread = 1 << 18;
/// How far ahead weights are asked for. Processors do not look beyond a page of 4 KiB by
/// themselves, and weights that are mapped from a file lie in such pages.
constexpr std::uintptr_t kPrefetchBytes = 8192;

// Their sizes cannot be template arguments.
template <int kLanes>
struct Vectors;
template <>
struct Vectors<4> {
  using Floats = float __attribute__((vector_size(16)));
};
template <>
struct Vectors<8> {
  using Floats = float __attribute__((vector_size(32)));
  using Bits = std::uint32_t __attribute__((vector_size(32)));
  using Bf16s = cpu::Bf16 __attribute__((vector_size(16)));
};
template <>
struct Vectors<16> {
  using Floats = float __attribute__((vector_size(64)));
  using Bits = std::uint32_t __attribute__((vector_size(64)));
  using Bf16s = cpu::Bf16 __attribute__((vector_size(32)));
};

/// What is done with vectors of kLanes numbers.
template <int kLanes>
struct Simd {
  using Floats = typename Vectors<kLanes>::Floats;

  // By reference: a vector as an argument would have another calling convention in each clone.
  static CLARA_INLINE void load(const float* p, Floats& v) { std::memcpy(&v, p, sizeof v); }
  static CLARA_INLINE void load(const cpu::Bf16* p, Floats& v) {
    typename Vectors<kLanes>::Bf16s narrow;
    std::memcpy(&narrow, p, sizeof narrow);
    const auto bits = __builtin_convertvector(narrow, typename Vectors<kLanes>::Bits) << 16;
    std::memcpy(&v, &bits, sizeof v);
  }
  static CLARA_INLINE float sum(const Floats& v) {
    if constexpr (kLanes == 4) {
      return (v[0] + v[2]) + (v[1] + v[3]);
    } else {
      using Half = typename Vectors<kLanes / 2>::Floats;
      Half low, high;
      std::memcpy(&low, &v, sizeof low);
      std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
      const Half both = low + high;
      return Simd<kLanes / 2>::sum(both);
    }
  }
};

/// Rows of float32 and of a weight matrix, to be multiplied element by element.
template <typename T>
struct Factors {
  const float* x = nullptr;
  std::int64_t x_stride = 0;
  const T* w = nullptr;
  std::int64_t w_stride = 0;
  std::int64_t length = 0;
};

/// y [m, out] = scale · (base + low_rank + bias).
template <typename T, typename Y>
struct Product {
  Factors<T> base;
  Factors<T> low_rank;  // its length may be 0
  const T* bias = nullptr;
  float scale = 1;
  Y* y = nullptr;
  std::int64_t y_stride = 0;
  std::int64_t num_rows = 0;  // m
};

/// Asks for what comes kPrefetchBytes later, which may lie behind the last weight.
CLARA_INLINE void prefetch(const void* p) {
  __builtin_prefetch(
      reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(p) + kPrefetchBytes));
}

/// Sums of products that are still spread over the lanes of a vector.
template <int kLanes, int kRows, int kColumns>
struct Sums {
  typename Vectors<kLanes>::Floats of[kColumns][kRows] = {};

  /// Adds kLanes products of each row of x with each row of w.
  template <typename T>
  CLARA_INLINE void add(const float* x, std::int64_t x_stride, const T* w, std::int64_t w_stride) {
    typename Vectors<kLanes>::Floats weights[kColumns], values;
    for (int j = 0; j < kColumns; ++j) Simd<kLanes>::load(w + j * w_stride, weights[j]);
    for (int r = 0; r < kRows; ++r) {
      Simd<kLanes>::load(x + r * x_stride, values);
      for (int j = 0; j < kColumns; ++j) of[j][r] += values * weights[j];
    }
  }

  /// Adds the products of kRows rows of f.x, from `row`, with kColumns rows of f.w, from `o`.
  template <typename T>
  CLARA_INLINE void add_dots(const Factors<T>& f, std::int64_t row, std::int64_t o) {
    const float* x = f.x + row * f.x_stride;
    const T* w = f.w + o * f.w_stride;
    std::int64_t k = 0;
    for (; k + kLanes <= f.length; k += kLanes) {
      for (int j = 0; j < kColumns; ++j) prefetch(w + j * f.w_stride + k);
      add(x + k, f.x_stride, w + k, f.w_stride);
    }
    if (k == f.length) return;
    // The rest as a vector too, with zeros behind it: scalar sums would be rounded otherwise.
    const auto rest = static_cast<std::size_t>(f.length - k);
    float last_x[kRows * kLanes] = {};
    T last_w[kColumns * kLanes] = {};
    for (int r = 0; r < kRows; ++r)
      std::memcpy(last_x + r * kLanes, x + r * f.x_stride + k, rest * sizeof(float));
    for (int j = 0; j < kColumns; ++j)
      std::memcpy(last_w + j * kLanes, w + j * f.w_stride + k, rest * sizeof(T));
    add(last_x, kLanes, last_w, kLanes);
  }
};

template <int kLanes, int kRows, int kColumns, typename T, typename Y>
CLARA_INLINE void block(const Product<T, Y>& p, std::int64_t row, std::int64_t o) {
  Sums<kLanes, kRows, kColumns> sums;
  sums.add_dots(p.base, row, o);
  sums.add_dots(p.low_rank, row, o);
  for (int j = 0; j < kColumns; ++j) {
    const float bias = p.bias != nullptr ? cpu::load(p.bias + o + j) : 0.0F;
    for (int r = 0; r < kRows; ++r) {
      const float value = Simd<kLanes>::sum(sums.of[j][r]) + bias;
      cpu::store(p.y + (row + r) * p.y_stride + o + j, p.scale * value);
    }
  }
}

template <int kLanes, int kRows, int kColumns, typename T, typename Y>
CLARA_INLINE void all_rows(const Product<T, Y>& p, std::int64_t o) {
  // Fewer rows than sums fit the registers wait for each other, so the rest goes by halves.
  std::int64_t row = 0;
  for (; row + kRows <= p.num_rows; row += kRows) block<kLanes, kRows, kColumns>(p, row, o);
  if constexpr (kRows > 4) {
    for (; row + 4 <= p.num_rows; row += 4) block<kLanes, 4, kColumns>(p, row, o);
  }
  for (; row + 2 <= p.num_rows; row += 2) block<kLanes, 2, kColumns>(p, row, o);
  for (; row < p.num_rows; ++row) block<kLanes, 1, kColumns>(p, row, o);
}

/// Results begin … end − 1 of every row.
template <int kLanes, int kRows, typename T, typename Y>
CLARA_INLINE void results(const Product<T, Y>& p, std::int64_t begin, std::int64_t end) {
  std::int64_t o = begin;
  for (; o + 2 <= end; o += 2) all_rows<kLanes, kRows, 2>(p, o);
  for (; o < end; ++o) all_rows<kLanes, kRows, 1>(p, o);
}

// Sixteen registers of eight floats hold sums of 4 rows with 2; thirty-two of sixteen those of 8. A
// function that is cloned cannot be a template.
using Bf16 = cpu::Bf16;
CLARA_FMA_CLONES void narrow(const Product<float, float>& p, std::int64_t b, std::int64_t e) {
  results<8, 4>(p, b, e);
}
CLARA_FMA_CLONES void narrow(const Product<Bf16, Bf16>& p, std::int64_t b, std::int64_t e) {
  results<8, 4>(p, b, e);
}
CLARA_FMA_CLONES void narrow(const Product<Bf16, float>& p, std::int64_t b, std::int64_t e) {
  results<8, 4>(p, b, e);
}
#ifdef CLARA_X86_V4
template <typename T, typename Y>
CLARA_X86_V4 void wide(const Product<T, Y>& p, std::int64_t b, std::int64_t e) {
  results<16, 8>(p, b, e);
}
#endif

template <typename T, typename Y>
void compute(const Product<T, Y>& p, std::int64_t begin, std::int64_t end) {
#ifdef CLARA_X86_V4
  static const bool has_v4 = cpu::has_x86_v4();
  if (has_v4) {
    wide(p, begin, end);
    return;
  }
#endif
  narrow(p, begin, end);
}

bool is_few(const Tensor& x, const Tensor& w) {
  const auto dtype = x.scalar_type();
  return cpu::take(x) && (dtype == torch::kFloat32 || dtype == torch::kBFloat16) &&
         w.scalar_type() == dtype && x.size(0) <= kFewRows && x.stride(1) == 1 && w.stride(1) == 1;
}

template <typename T>
const T* values_of(const Tensor& t) {
  return static_cast<const T*>(t.const_data_ptr());
}

template <typename T>
Factors<T> factors(const Tensor& x, const Tensor& w) {
  return {x.const_data_ptr<float>(), x.stride(0), values_of<T>(w), w.stride(0), x.size(1)};
}

template <typename T, typename Y>
Product<T, Y> product_into(Tensor& y, const Factors<T>& base) {
  Product<T, Y> p;
  p.base = base;
  p.y = static_cast<Y*>(y.mutable_data_ptr());
  p.y_stride = y.stride(0);
  p.num_rows = y.size(0);
  return p;
}

/// Results of several products whose columns are dealt to the threads as if they lay side by side.
template <typename T, typename Y>
void run(const std::vector<Product<T, Y>>& products, const std::vector<std::int64_t>& widths) {
  std::int64_t total = 0, macs = 0;
  for (std::size_t i = 0; i < products.size(); ++i) {
    total += widths[i];
    macs += widths[i] * products[i].num_rows * products[i].base.length;
  }
  if (total == 0) return;
  const std::int64_t grain =
      std::max<std::int64_t>(2, total * kMinMacsPerThread / std::max<std::int64_t>(1, macs));
  at::parallel_for(0, total, grain, [&](std::int64_t begin, std::int64_t end) {
    std::int64_t first = 0;  // column of the product's first result
    for (std::size_t i = 0; i < products.size(); ++i) {
      const std::int64_t b = std::max(begin, first) - first,
                         e = std::min(end, first + widths[i]) - first;
      if (b < e) compute(products[i], b, e);
      first += widths[i];
    }
  });
}

template <typename T>
std::vector<Tensor> few_rows_linear(const Tensor& x, const std::vector<AdaptedLinear>& layers,
                                    double scale) {
  const Tensor wide_x = x.to(torch::kFloat32);
  std::vector<Tensor> us, ys, kept;  // `kept` holds what pointers point to
  std::vector<Product<T, float>> low;
  std::vector<Product<T, T>> all;
  std::vector<std::int64_t> ranks, widths;
  for (const AdaptedLinear& layer : layers) {
    Tensor& u = us.emplace_back();
    if (!layer.lora.defined()) continue;
    const Tensor a = kept.emplace_back(layer.lora.a.to(x.scalar_type()).contiguous());
    u = torch::empty({x.size(0), a.size(0)}, wide_x.options());
    low.push_back(product_into<T, float>(u, factors<T>(wide_x, a)));
    low.back().scale = static_cast<float>(scale);
    ranks.push_back(a.size(0));
  }
  run(low, ranks);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const AdaptedLinear& layer = layers[i];
    Tensor& y = ys.emplace_back(torch::empty({x.size(0), layer.weight.size(0)}, x.options()));
    Product<T, T>& p = all.emplace_back(product_into<T, T>(y, factors<T>(wide_x, layer.weight)));
    if (us[i].defined()) {
      const Tensor b = kept.emplace_back(layer.lora.b.to(x.scalar_type()).contiguous());
      p.low_rank = factors<T>(us[i], b);
    }
    if (layer.bias.defined())
      p.bias = values_of<T>(kept.emplace_back(layer.bias.to(x.scalar_type()).contiguous()));
    widths.push_back(layer.weight.size(0));
  }
  run(all, widths);
  return ys;
}

}  // namespace

Tensor frozen_product(const Tensor& x, const Tensor& w) {
  return decoding_linear(x, {{w, {}, {}}}, 1.0)[0];
}

std::vector<Tensor> decoding_linear(const Tensor& x, const std::vector<AdaptedLinear>& layers,
                                    double scale) {
  const torch::NoGradGuard no_grad;
  const bool few = std::all_of(layers.begin(), layers.end(),
                               [&](const AdaptedLinear& layer) { return is_few(x, layer.weight); });
  if (!few) return lora_linear(x, layers, scale, {});
  return x.scalar_type() == torch::kBFloat16 ? few_rows_linear<Bf16>(x, layers, scale)
                                             : few_rows_linear<float>(x, layers, scale);
}

}  // namespace clara
