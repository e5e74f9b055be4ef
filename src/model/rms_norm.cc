// The autograd node of residual + RMSNorm.
#include "model/rms_norm.h"

#include <optional>

#include "model/cpu_kernels.h"
#include <torch/csrc/autograd/custom_function.h>

namespace clara {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// weight ∘ round(residual · rstd) in ATen operators.
Tensor plain_normed(const Tensor& residual, const Tensor& rstd, const Tensor& weight) {
  return weight * (residual.to(torch::kFloat32) * rstd.unsqueeze(-1)).to(residual.dtype());
}

class AddRmsNormNode : public torch::autograd::Function<AddRmsNormNode> {
 public:
  static variable_list forward(AutogradContext* ctx, const Tensor& x_in,
                               const std::optional<Tensor>& delta_in, const Tensor& weight,
                               double eps) {
    const Tensor x = x_in.contiguous();
    const Tensor delta = delta_in ? delta_in->contiguous() : Tensor();
    Tensor r, y, rstd;
    if (cpu::take(x)) {
      r = torch::empty_like(x);
      y = torch::empty_like(x);
      rstd = torch::empty({x.numel() / x.size(-1)}, x.options().dtype(torch::kFloat32));
      cpu::add_rms_norm(x, delta, weight, eps, r, y, rstd);
    } else {
      r = delta.defined() ? x + delta : x.clone();
      rstd = torch::rsqrt(r.to(torch::kFloat32).square().mean(-1).add_(eps));
      y = plain_normed(r, rstd, weight);
    }
    ctx->save_for_backward({r, rstd, weight});
    ctx->saved_data["has_delta"] = delta.defined();
    ctx->mark_non_differentiable({rstd});
    return {r, y, rstd};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d_outputs) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor &r = saved[0], &rstd = saved[1], &weight = saved[2];
    const Tensor dr = d_outputs[0].defined() ? d_outputs[0].contiguous() : d_outputs[0];
    Tensor dx;
    if (!d_outputs[1].defined()) {
      dx = dr;
    } else if (cpu::take(r)) {
      dx = cpu::add_rms_norm_backward(dr, d_outputs[1].contiguous(), r, rstd, weight);
    } else {
      const Tensor wide = r.to(torch::kFloat32), scale = rstd.unsqueeze(-1);
      const Tensor g = d_outputs[1].to(torch::kFloat32) * weight.to(torch::kFloat32);
      dx = g * scale - wide * (scale.pow(3) * (g * wide).mean(-1, true));
      if (dr.defined()) dx = dx + dr.to(torch::kFloat32);
      dx = dx.to(r.dtype());
    }
    return {dx, ctx->saved_data["has_delta"].toBool() ? dx : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

NormedResidual add_rms_norm(const Tensor& x, const Tensor& delta, const Tensor& weight,
                            double eps) {
  variable_list outputs = AddRmsNormNode::apply(
      x, delta.defined() ? std::optional<Tensor>(delta) : std::nullopt, weight, eps);
  return {outputs[0], outputs[1], outputs[2]};
}

Tensor normed_again(const Tensor& residual, const Tensor& rstd, const Tensor& weight) {
  const at::NoGradGuard no_grad;
  return cpu::take(residual) ? cpu::rms_normed(residual, rstd, weight)
                             : plain_normed(residual, rstd, weight);
}

}  // namespace clara
