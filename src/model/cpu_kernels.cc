// The loops are written once as templates that the compiler inlines into one clone per instruction
// set.
#include "model/cpu_kernels.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <vector>

#include "common/cpu_clones.h"
#include "common/cpu_math.h"
#include "model/head_rotation.h"
#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara::cpu {
namespace {

/// 32 well mixed bits of an element index (two rounds of multiply and shift).
CLARA_INLINE std::uint32_t hash_index(std::uint32_t index, std::uint32_t seed_low,
                                      std::uint32_t seed_high) {
  std::uint32_t h = index ^ seed_low;
  h ^= h >> 16;
  h *= 0x7FEB352DU;
  h ^= h >> 15;
  h += seed_high;
  h *= 0x846CA68BU;
  h ^= h >> 16;
  return h;
}

struct DropoutBits {
  std::uint32_t seed_low, seed_high, threshold;
  float keep_scale;
  explicit DropoutBits(const DropoutSpec& spec)
      : seed_low(static_cast<std::uint32_t>(mix_bits(spec.seed))),
        seed_high(static_cast<std::uint32_t>(mix_bits(spec.seed) >> 32)),
        threshold(static_cast<std::uint32_t>(std::llround(spec.probability * 65536.0))),
        keep_scale(static_cast<float>(1.0 / (1.0 - static_cast<double>(threshold) / 65536.0))) {}
  /// Each 32-bit hash decides two neighbouring elements with 16 bits each.
  CLARA_INLINE float factor(std::uint32_t index) const {
    const std::uint32_t h = hash_index(index >> 1, seed_low, seed_high);
    const std::uint32_t bits = (index & 1U) != 0 ? h >> 16 : h & 0xFFFFU;
    return bits < threshold ? 0.0F : keep_scale;
  }
};

template <typename T>
CLARA_INLINE void dropout_loop(const T* x, T* out, std::int64_t begin, std::int64_t end,
                               DropoutBits bits) {
  for (std::int64_t i = begin; i < end; ++i)
    store(out + i, load(x + i) * bits.factor(static_cast<std::uint32_t>(i)));
}
CLARA_CPU_CLONES void dropout_f32(const float* x, float* out, std::int64_t b, std::int64_t e,
                                  DropoutBits bits) {
  dropout_loop(x, out, b, e, bits);
}
CLARA_CPU_CLONES void dropout_bf16(const Bf16* x, Bf16* out, std::int64_t b, std::int64_t e,
                                   DropoutBits bits) {
  dropout_loop(x, out, b, e, bits);
}

template <typename T>
CLARA_INLINE void add_dropout_loop(T* target, const T* grad, std::int64_t begin, std::int64_t end,
                                   DropoutBits bits) {
  for (std::int64_t i = begin; i < end; ++i) {
    store(target + i,
          load(target + i) + load(grad + i) * bits.factor(static_cast<std::uint32_t>(i)));
  }
}
CLARA_CPU_CLONES void add_dropout_f32(float* t, const float* g, std::int64_t b, std::int64_t e,
                                      DropoutBits bits) {
  add_dropout_loop(t, g, b, e, bits);
}
CLARA_CPU_CLONES void add_dropout_bf16(Bf16* t, const Bf16* g, std::int64_t b, std::int64_t e,
                                       DropoutBits bits) {
  add_dropout_loop(t, g, b, e, bits);
}

template <typename T>
struct NormRows {
  const T* x;
  const T* delta;
  const T* w;
  T* r;
  T* y;
  float* rstd;
  std::int64_t width;
  float eps;
};

template <typename T>
CLARA_INLINE void normed_row(const T* r, const T* w, float rstd, std::int64_t width, T* y) {
  for (std::int64_t i = 0; i < width; ++i)
    store(y + i, load(w + i) * rounded<T>(load(r + i) * rstd));
}

template <typename T>
CLARA_INLINE void norm_loop(const NormRows<T>& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t width = a.width;
  for (std::int64_t t = begin; t < end; ++t) {
    const T* x = a.x + t * width;
    T* r = a.r + t * width;
    T* y = a.y + t * width;
    if (a.delta != nullptr) {
      const T* delta = a.delta + t * width;
      for (std::int64_t i = 0; i < width; ++i) store(r + i, load(x + i) + load(delta + i));
    } else if (r != x) {
      std::memcpy(r, x, static_cast<std::size_t>(width) * sizeof(T));
    }
    const float sum = lane_sum(width, [&](std::int64_t i) { return load(r + i) * load(r + i); });
    const float rstd = 1.0F / std::sqrt(sum / static_cast<float>(width) + a.eps);
    a.rstd[t] = rstd;
    normed_row(r, a.w, rstd, width, y);
  }
}
CLARA_CPU_CLONES void norm_f32(const NormRows<float>& a, std::int64_t b, std::int64_t e) {
  norm_loop(a, b, e);
}
CLARA_CPU_CLONES void norm_bf16(const NormRows<Bf16>& a, std::int64_t b, std::int64_t e) {
  norm_loop(a, b, e);
}

template <typename T>
CLARA_INLINE void normed_loop(const T* r, const T* w, const float* rstd, std::int64_t width, T* y,
                              std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t)
    normed_row(r + t * width, w, rstd[t], width, y + t * width);
}
CLARA_CPU_CLONES void normed_f32(const float* r, const float* w, const float* rstd,
                                 std::int64_t width, float* y, std::int64_t b, std::int64_t e) {
  normed_loop(r, w, rstd, width, y, b, e);
}
CLARA_CPU_CLONES void normed_bf16(const Bf16* r, const Bf16* w, const float* rstd,
                                  std::int64_t width, Bf16* y, std::int64_t b, std::int64_t e) {
  normed_loop(r, w, rstd, width, y, b, e);
}

template <typename T>
struct NormBackwardRows {
  const T* dr;
  const T* dy;
  const T* r;
  const T* w;
  const float* rstd;
  T* dx;
  std::int64_t width;
};

template <typename T>
CLARA_INLINE void norm_backward_loop(const NormBackwardRows<T>& a, std::int64_t begin,
                                     std::int64_t end) {
  const std::int64_t width = a.width;
  for (std::int64_t t = begin; t < end; ++t) {
    const T* dy = a.dy + t * width;
    const T* r = a.r + t * width;
    T* dx = a.dx + t * width;
    const float rstd = a.rstd[t];
    const float dot =
        lane_sum(width, [&](std::int64_t i) { return load(dy + i) * load(a.w + i) * load(r + i); });
    const float coefficient = dot * rstd * rstd * rstd / static_cast<float>(width);
    if (a.dr != nullptr) {
      const T* dr = a.dr + t * width;
      for (std::int64_t i = 0; i < width; ++i) {
        store(dx + i,
              load(dr + i) + load(dy + i) * load(a.w + i) * rstd - load(r + i) * coefficient);
      }
    } else {
      for (std::int64_t i = 0; i < width; ++i) {
        store(dx + i, load(dy + i) * load(a.w + i) * rstd - load(r + i) * coefficient);
      }
    }
  }
}
CLARA_CPU_CLONES void norm_backward_f32(const NormBackwardRows<float>& a, std::int64_t b,
                                        std::int64_t e) {
  norm_backward_loop(a, b, e);
}
CLARA_CPU_CLONES void norm_backward_bf16(const NormBackwardRows<Bf16>& a, std::int64_t b,
                                         std::int64_t e) {
  norm_backward_loop(a, b, e);
}

template <typename T>
CLARA_INLINE void swiglu_loop(const T* gate, const T* up, T* out, std::int64_t begin,
                              std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = load(gate + i);
    store(out + i, rounded<T>(g / (1.0F + exp_f32(-g))) * load(up + i));
  }
}
CLARA_CPU_CLONES void swiglu_f32(const float* g, const float* u, float* o, std::int64_t b,
                                 std::int64_t e) {
  swiglu_loop(g, u, o, b, e);
}
CLARA_CPU_CLONES void swiglu_bf16(const Bf16* g, const Bf16* u, Bf16* o, std::int64_t b,
                                  std::int64_t e) {
  swiglu_loop(g, u, o, b, e);
}

template <typename T>
CLARA_INLINE void swiglu_backward_loop(const T* d_out, const T* gate, const T* up, T* d_gate,
                                       T* d_up, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const float g = load(gate + i), d = load(d_out + i);
    const float sigmoid = 1.0F / (1.0F + exp_f32(-g));
    const float silu = g * sigmoid;
    store(d_gate + i, d * load(up + i) * (sigmoid + silu * (1.0F - sigmoid)));
    store(d_up + i, d * silu);
  }
}
CLARA_CPU_CLONES void swiglu_backward_f32(const float* d, const float* g, const float* u, float* dg,
                                          float* du, std::int64_t b, std::int64_t e) {
  swiglu_backward_loop(d, g, u, dg, du, b, e);
}
CLARA_CPU_CLONES void swiglu_backward_bf16(const Bf16* d, const Bf16* g, const Bf16* u, Bf16* dg,
                                           Bf16* du, std::int64_t b, std::int64_t e) {
  swiglu_backward_loop(d, g, u, dg, du, b, e);
}

struct HeadCopy {
  const float* cos;
  const float* sin;
  std::int64_t num_heads, head_dim, length, padded, token_stride;
  std::int64_t half;  // of the rotated dimensions; 0: no rotation
  float scale;
};

/// A head of token t: its rotated part, and the rest.
template <typename T>
CLARA_INLINE void copy_head(const T* from, T* to, std::int64_t t, float sign, const HeadCopy& a) {
  rotate_head(from, to, {a.cos + t * a.half, a.sin + t * a.half, a.half, sign}, a.head_dim,
              a.scale);
}

template <typename T>
CLARA_INLINE void split_heads_loop(const T* in, T* out, const HeadCopy& a) {
  for (std::int64_t h = 0; h < a.num_heads; ++h) {
    T* head = out + h * a.padded * a.head_dim;
    for (std::int64_t t = 0; t < a.length; ++t) {
      const T* from = in + t * a.token_stride + h * a.head_dim;
      T* to = head + t * a.head_dim;
      copy_head(from, to, t, 1.0F, a);
    }
    std::memset(head + a.length * a.head_dim, 0,
                static_cast<std::size_t>((a.padded - a.length) * a.head_dim) * sizeof(T));
  }
}
CLARA_CPU_CLONES void split_heads_f32(const float* in, float* out, const HeadCopy& a) {
  split_heads_loop(in, out, a);
}
CLARA_CPU_CLONES void split_heads_bf16(const Bf16* in, Bf16* out, const HeadCopy& a) {
  split_heads_loop(in, out, a);
}

template <typename T>
CLARA_INLINE void merge_heads_loop(const T* in, T* out, const HeadCopy& a) {
  for (std::int64_t h = 0; h < a.num_heads; ++h) {
    const T* head = in + h * a.padded * a.head_dim;
    for (std::int64_t t = 0; t < a.length; ++t) {
      T* to = out + t * a.token_stride + h * a.head_dim;
      const T* from = head + t * a.head_dim;
      copy_head(from, to, t, -1.0F, a);
    }
  }
}
CLARA_CPU_CLONES void merge_heads_f32(const float* in, float* out, const HeadCopy& a) {
  merge_heads_loop(in, out, a);
}
CLARA_CPU_CLONES void merge_heads_bf16(const Bf16* in, Bf16* out, const HeadCopy& a) {
  merge_heads_loop(in, out, a);
}

/// Rows of causal scores: blocks of `queries` rows, the first of each sees columns 0 … first.
struct CausalRows {
  std::int64_t rows, columns, first, queries;
  CLARA_INLINE std::int64_t visible(std::int64_t row) const {
    return std::min(columns, first + row % queries + 1);
  }
};
CausalRows causal_rows(const torch::Tensor& scores, std::int64_t first, std::int64_t queries) {
  const std::int64_t columns = scores.size(-1);
  return {scores.numel() / columns, columns, first, queries};
}

template <typename T>
CLARA_INLINE void causal_softmax_loop(T* scores, const CausalRows& a, float* buffer) {
  const std::int64_t columns = a.columns;
  for (std::int64_t i = 0; i < a.rows; ++i) {
    T* row = scores + i * columns;
    const std::int64_t visible = a.visible(i);
    float maximum = -std::numeric_limits<float>::infinity();
    for (std::int64_t j = 0; j < visible; ++j) {
      const float s = load(row + j);
      buffer[j] = s;
      maximum = s > maximum ? s : maximum;
    }
    for (std::int64_t j = 0; j < visible; ++j) buffer[j] = exp_f32(buffer[j] - maximum);
    const float sum = lane_sum(visible, [&](std::int64_t j) { return buffer[j]; });
    const float inverse = 1.0F / sum;
    for (std::int64_t j = 0; j < visible; ++j) store(row + j, buffer[j] * inverse);
    for (std::int64_t j = visible; j < columns; ++j) row[j] = T{0};
  }
}
CLARA_CPU_CLONES void causal_softmax_f32(float* s, const CausalRows& a, float* buffer) {
  causal_softmax_loop(s, a, buffer);
}
CLARA_CPU_CLONES void causal_softmax_bf16(Bf16* s, const CausalRows& a, float* buffer) {
  causal_softmax_loop(s, a, buffer);
}

template <typename T>
CLARA_INLINE void softmax_backward_loop(const T* p, T* dp, const CausalRows& a) {
  const std::int64_t columns = a.columns;
  for (std::int64_t i = 0; i < a.rows; ++i) {
    const T* p_row = p + i * columns;
    T* d_row = dp + i * columns;
    const std::int64_t visible = a.visible(i);
    const float dot =
        lane_sum(visible, [&](std::int64_t j) { return load(p_row + j) * load(d_row + j); });
    for (std::int64_t j = 0; j < visible; ++j)
      store(d_row + j, load(p_row + j) * (load(d_row + j) - dot));
    for (std::int64_t j = visible; j < columns; ++j) d_row[j] = T{0};
  }
}
CLARA_CPU_CLONES void softmax_backward_f32(const float* p, float* dp, const CausalRows& a) {
  softmax_backward_loop(p, dp, a);
}
CLARA_CPU_CLONES void softmax_backward_bf16(const Bf16* p, Bf16* dp, const CausalRows& a) {
  softmax_backward_loop(p, dp, a);
}

/// Σ exp(x − maximum) over one part of a row of logits.
template <typename T>
CLARA_INLINE float exp_sum(const T* x, std::int64_t n, float maximum) {
  return lane_sum(n, [&](std::int64_t i) { return exp_f32(load(x + i) - maximum); });
}
template <typename T>
CLARA_INLINE float row_maximum(const T* x, std::int64_t n, float start) {
  float lanes[16];
  for (float& lane : lanes) lane = start;
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int l = 0; l < 16; ++l) {
      const float v = load(x + i + l);
      lanes[l] = v > lanes[l] ? v : lanes[l];
    }
  }
  for (; i < n; ++i) lanes[0] = std::max(lanes[0], load(x + i));
  return *std::max_element(lanes, lanes + 16);
}
template <typename T>
CLARA_INLINE void to_probabilities(T* x, std::int64_t n, float maximum, float inverse_sum) {
  for (std::int64_t i = 0; i < n; ++i) store(x + i, exp_f32(load(x + i) - maximum) * inverse_sum);
}

template <typename T>
struct LogitRows {
  T* base;
  T* added;
  const std::int64_t* targets;
  float* nll;
  std::int64_t num_base, num_added;
  bool with_gradient;
};

template <typename T>
CLARA_INLINE void cross_entropy_loop(const LogitRows<T>& a, std::int64_t begin, std::int64_t end) {
  for (std::int64_t t = begin; t < end; ++t) {
    T* base = a.base + t * a.num_base;
    T* added = a.added + t * a.num_added;
    const float maximum = row_maximum(
        added, a.num_added, row_maximum(base, a.num_base, -std::numeric_limits<float>::infinity()));
    const float sum = exp_sum(base, a.num_base, maximum) + exp_sum(added, a.num_added, maximum);
    T* target =
        a.targets[t] < a.num_base ? base + a.targets[t] : added + (a.targets[t] - a.num_base);
    const float target_logit = load(target);
    a.nll[t] = std::log(sum) + (maximum - target_logit);
    if (a.with_gradient) {
      const float inverse_sum = 1.0F / sum;
      to_probabilities(base, a.num_base, maximum, inverse_sum);
      to_probabilities(added, a.num_added, maximum, inverse_sum);
      // From the loss rather than from the rounded probability: 1 − p keeps its digits in bfloat16.
      store(target, exp_f32(target_logit - maximum) * inverse_sum - 1.0F);
    }
  }
}
CLARA_CPU_CLONES void cross_entropy_f32(const LogitRows<float>& a, std::int64_t b, std::int64_t e) {
  cross_entropy_loop(a, b, e);
}
CLARA_CPU_CLONES void cross_entropy_bf16(const LogitRows<Bf16>& a, std::int64_t b, std::int64_t e) {
  cross_entropy_loop(a, b, e);
}

bool is_bf16(const torch::Tensor& t) {
  if (t.scalar_type() == torch::kBFloat16) return true;
  if (t.scalar_type() == torch::kFloat32) return false;
  throw Error("expected a float32 or bfloat16 tensor, found " +
              std::string(c10::toString(t.scalar_type())));
}
template <typename T>
const T* in_pointer(const torch::Tensor& t) {
  return t.defined() ? static_cast<const T*>(t.const_data_ptr()) : nullptr;
}
template <typename T>
T* out_pointer(const torch::Tensor& t) {
  return static_cast<T*>(t.mutable_data_ptr());
}

constexpr std::int64_t kElementGrain = 16384;

std::int64_t row_grain(std::int64_t width) {
  return std::max<std::int64_t>(1, kElementGrain / std::max<std::int64_t>(width, 1));
}

}  // namespace

bool take(const torch::Tensor& x) {
  static const bool plain_operators = [] {
    const char* setting = std::getenv("CLARA_PLAIN_OPERATORS");
    return setting != nullptr && *setting != '\0';
  }();
  return x.is_cpu() && !plain_operators;
}

torch::Tensor dropout(const torch::Tensor& x, const DropoutSpec& spec) {
  const torch::Tensor from = x.contiguous();
  torch::Tensor out = torch::empty_like(from);
  const DropoutBits bits(spec);
  const bool bf16 = is_bf16(x);
  at::parallel_for(0, x.numel(), kElementGrain, [&](std::int64_t b, std::int64_t e) {
    if (bf16) {
      dropout_bf16(in_pointer<Bf16>(from), out_pointer<Bf16>(out), b, e, bits);
    } else {
      dropout_f32(in_pointer<float>(from), out_pointer<float>(out), b, e, bits);
    }
  });
  return out;
}

void add_dropout(torch::Tensor& target, const torch::Tensor& grad, const DropoutSpec& spec) {
  const DropoutBits bits(spec);
  const bool bf16 = is_bf16(target);
  at::parallel_for(0, target.numel(), kElementGrain, [&](std::int64_t b, std::int64_t e) {
    if (bf16) {
      add_dropout_bf16(out_pointer<Bf16>(target), in_pointer<Bf16>(grad), b, e, bits);
    } else {
      add_dropout_f32(out_pointer<float>(target), in_pointer<float>(grad), b, e, bits);
    }
  });
}

void add_rms_norm(const torch::Tensor& x, const torch::Tensor& delta, const torch::Tensor& w,
                  double eps, torch::Tensor& r, torch::Tensor& y, torch::Tensor& rstd) {
  const std::int64_t width = x.size(-1), rows = x.numel() / width;
  const auto run = [&]<typename T>(T, auto kernel) {
    const NormRows<T> a{in_pointer<T>(x),
                        in_pointer<T>(delta),
                        in_pointer<T>(w),
                        out_pointer<T>(r),
                        out_pointer<T>(y),
                        out_pointer<float>(rstd),
                        width,
                        static_cast<float>(eps)};
    at::parallel_for(0, rows, row_grain(width),
                     [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
  };
  if (is_bf16(x)) {
    run(Bf16{}, norm_bf16);
  } else {
    run(float{}, norm_f32);
  }
}

torch::Tensor rms_normed(const torch::Tensor& r, const torch::Tensor& rstd,
                         const torch::Tensor& w) {
  const std::int64_t width = r.size(-1), rows = r.numel() / width;
  torch::Tensor y = torch::empty_like(r);
  const auto run = [&]<typename T>(T, auto kernel) {
    at::parallel_for(0, rows, row_grain(width), [&](std::int64_t b, std::int64_t e) {
      kernel(in_pointer<T>(r), in_pointer<T>(w), in_pointer<float>(rstd), width, out_pointer<T>(y),
             b, e);
    });
  };
  if (is_bf16(r)) {
    run(Bf16{}, normed_bf16);
  } else {
    run(float{}, normed_f32);
  }
  return y;
}

torch::Tensor add_rms_norm_backward(const torch::Tensor& dr, const torch::Tensor& dy,
                                    const torch::Tensor& r, const torch::Tensor& rstd,
                                    const torch::Tensor& w) {
  const std::int64_t width = r.size(-1), rows = r.numel() / width;
  torch::Tensor dx = torch::empty_like(r);
  const auto run = [&]<typename T>(T, auto kernel) {
    const NormBackwardRows<T> a{in_pointer<T>(dr),
                                in_pointer<T>(dy),
                                in_pointer<T>(r),
                                in_pointer<T>(w),
                                in_pointer<float>(rstd),
                                out_pointer<T>(dx),
                                width};
    at::parallel_for(0, rows, row_grain(width),
                     [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
  };
  if (is_bf16(r)) {
    run(Bf16{}, norm_backward_bf16);
  } else {
    run(float{}, norm_backward_f32);
  }
  return dx;
}

torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up) {
  torch::Tensor out = torch::empty_like(gate);
  const bool bf16 = is_bf16(gate);
  at::parallel_for(0, gate.numel(), kElementGrain, [&](std::int64_t b, std::int64_t e) {
    if (bf16) {
      swiglu_bf16(in_pointer<Bf16>(gate), in_pointer<Bf16>(up), out_pointer<Bf16>(out), b, e);
    } else {
      swiglu_f32(in_pointer<float>(gate), in_pointer<float>(up), out_pointer<float>(out), b, e);
    }
  });
  return out;
}

void swiglu_backward(const torch::Tensor& d_out, const torch::Tensor& gate, const torch::Tensor& up,
                     torch::Tensor& d_gate, torch::Tensor& d_up) {
  const bool bf16 = is_bf16(gate);
  at::parallel_for(0, gate.numel(), kElementGrain, [&](std::int64_t b, std::int64_t e) {
    if (bf16) {
      swiglu_backward_bf16(in_pointer<Bf16>(d_out), in_pointer<Bf16>(gate), in_pointer<Bf16>(up),
                           out_pointer<Bf16>(d_gate), out_pointer<Bf16>(d_up), b, e);
    } else {
      swiglu_backward_f32(in_pointer<float>(d_out), in_pointer<float>(gate), in_pointer<float>(up),
                          out_pointer<float>(d_gate), out_pointer<float>(d_up), b, e);
    }
  });
}

void split_heads(const torch::Tensor& in_LD, std::int64_t num_heads, std::int64_t padded,
                 const torch::Tensor& cos, const torch::Tensor& sin, double scale,
                 torch::Tensor& out_HPd) {
  const HeadCopy a{in_pointer<float>(cos),
                   in_pointer<float>(sin),
                   num_heads,
                   in_LD.size(1) / num_heads,
                   in_LD.size(0),
                   padded,
                   in_LD.stride(0),
                   cos.defined() ? cos.size(1) : 0,
                   static_cast<float>(scale)};
  if (is_bf16(in_LD)) {
    split_heads_bf16(in_pointer<Bf16>(in_LD), out_pointer<Bf16>(out_HPd), a);
  } else {
    split_heads_f32(in_pointer<float>(in_LD), out_pointer<float>(out_HPd), a);
  }
}

void merge_heads(const torch::Tensor& in_HPd, std::int64_t length, const torch::Tensor& cos,
                 const torch::Tensor& sin, double scale, torch::Tensor& out_LD) {
  const HeadCopy a{in_pointer<float>(cos),
                   in_pointer<float>(sin),
                   in_HPd.size(0),
                   in_HPd.size(2),
                   length,
                   in_HPd.size(1),
                   out_LD.stride(0),
                   cos.defined() ? cos.size(1) : 0,
                   static_cast<float>(scale)};
  if (is_bf16(in_HPd)) {
    merge_heads_bf16(in_pointer<Bf16>(in_HPd), out_pointer<Bf16>(out_LD), a);
  } else {
    merge_heads_f32(in_pointer<float>(in_HPd), out_pointer<float>(out_LD), a);
  }
}

void causal_softmax(torch::Tensor& scores, std::int64_t first, std::int64_t queries) {
  thread_local std::vector<float> buffer;
  const CausalRows rows = causal_rows(scores, first, queries);
  buffer.resize(static_cast<std::size_t>(rows.columns) + 16);
  if (is_bf16(scores)) {
    causal_softmax_bf16(out_pointer<Bf16>(scores), rows, buffer.data());
  } else {
    causal_softmax_f32(out_pointer<float>(scores), rows, buffer.data());
  }
}

void softmax_backward(const torch::Tensor& p, torch::Tensor& dp, std::int64_t first,
                      std::int64_t queries) {
  const CausalRows rows = causal_rows(p, first, queries);
  if (is_bf16(p)) {
    softmax_backward_bf16(in_pointer<Bf16>(p), out_pointer<Bf16>(dp), rows);
  } else {
    softmax_backward_f32(in_pointer<float>(p), out_pointer<float>(dp), rows);
  }
}

torch::Tensor cross_entropy_rows(torch::Tensor& base, torch::Tensor& added,
                                 const torch::Tensor& targets, bool with_gradient) {
  torch::Tensor nll = torch::empty({base.size(0)}, base.options().dtype(torch::kFloat32));
  const auto run = [&]<typename T>(T, auto kernel) {
    const LogitRows<T> a{out_pointer<T>(base),
                         out_pointer<T>(added),
                         targets.const_data_ptr<std::int64_t>(),
                         nll.mutable_data_ptr<float>(),
                         base.size(1),
                         added.size(1),
                         with_gradient};
    at::parallel_for(0, base.size(0), 1, [&](std::int64_t b, std::int64_t e) { kernel(a, b, e); });
  };
  if (is_bf16(base)) {
    run(Bf16{}, cross_entropy_bf16);
  } else {
    run(float{}, cross_entropy_f32);
  }
  return nll;
}

}  // namespace clara::cpu
