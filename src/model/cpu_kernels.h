// Fused elementwise and row-wise loops for the CPU, float32 and bfloat16. Each exists because the
// same thing in ATen operators reads and writes memory several times over. All of them compute in
// float32 and round once at the store.
#pragma once

#include <cstdint>

#include <torch/types.h>

namespace clara::cpu {

/// Whether these loops take `x`: it is on the CPU, and the environment variable
/// CLARA_PLAIN_OPERATORS is unset or empty. With it tensors on the CPU go the way of all other
/// devices, so that this way is tested where there is no other device.
bool take(const torch::Tensor& x);

/// Which elements dropout keeps: a hash of (seed, element index), so that backward needs no stored
/// mask.
struct DropoutSpec {
  double probability = 0;  ///< 0 = off
  std::uint64_t seed = 0;
  bool active() const { return probability > 0; }
};

/// x ∘ mask / (1 − p), same shape and dtype. The element index runs over the flattened tensor.
torch::Tensor dropout(const torch::Tensor& x, const DropoutSpec& spec);
/// target += grad ∘ mask / (1 − p), in place.
void add_dropout(torch::Tensor& target, const torch::Tensor& grad, const DropoutSpec& spec);

/// r = x + delta (delta may be undefined: r = x); y = w ∘ round(r · rstd). x, delta [T, D]; w [D].
/// rstd [T] float32.
void add_rms_norm(const torch::Tensor& x, const torch::Tensor& delta, const torch::Tensor& w,
                  double eps, torch::Tensor& r, torch::Tensor& y, torch::Tensor& rstd);
/// That y again, from r and rstd.
torch::Tensor rms_normed(const torch::Tensor& r, const torch::Tensor& rstd, const torch::Tensor& w);
/// dx = dr (may be undefined) + d(norm)/dr · dy.
torch::Tensor add_rms_norm_backward(const torch::Tensor& dr, const torch::Tensor& dy,
                                    const torch::Tensor& r, const torch::Tensor& rstd,
                                    const torch::Tensor& w);

/// silu(gate) ∘ up.
torch::Tensor swiglu(const torch::Tensor& gate, const torch::Tensor& up);
void swiglu_backward(const torch::Tensor& d_out, const torch::Tensor& gate, const torch::Tensor& up,
                     torch::Tensor& d_gate, torch::Tensor& d_up);

/// One sequence: tokens [L, H·hd] (row stride `in_stride`) → heads [H, padded, hd] with rotary
/// applied where cosines are given. cos, sin [L, r/2] float32 (the first r dimensions of a head are
/// rotated) or undefined. Rows L … padded − 1 are zeroed. Scaled by `scale`.
void split_heads(const torch::Tensor& in_LD, std::int64_t num_heads, std::int64_t padded,
                 const torch::Tensor& cos, const torch::Tensor& sin, double scale,
                 torch::Tensor& out_HPd);
/// The transpose: heads [H, padded, hd] → tokens [L, H·hd] with the rotation transposed, times
/// `scale`.
void merge_heads(const torch::Tensor& in_HPd, std::int64_t length, const torch::Tensor& cos,
                 const torch::Tensor& sin, double scale, torch::Tensor& out_LD);

/// Causal scores → probabilities, in place. The rows of [..., R, C] are blocks of `queries` rows
/// whose positions are first, first + 1, …: such a row sees the columns up to its position, the
/// rest becomes 0.
void causal_softmax(torch::Tensor& scores, std::int64_t first, std::int64_t queries);
/// dS = P ∘ (dP − Σ P ∘ dP), in place in dP, for those rows.
void softmax_backward(const torch::Tensor& p, torch::Tensor& dp, std::int64_t first,
                      std::int64_t queries);

/// Softmax cross-entropy of rows whose logits stand in two parts, base [A, V] and added [A, E];
/// targets [A] int64 count over both. Returns the losses [A] float32; with `with_gradient` the
/// logits become softmax − onehot in place.
torch::Tensor cross_entropy_rows(torch::Tensor& base, torch::Tensor& added,
                                 const torch::Tensor& targets, bool with_gradient);

}  // namespace clara::cpu
