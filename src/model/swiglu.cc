// The autograd node of SwiGLU: keeps gate and up, nothing else.
#include "model/swiglu.h"

#include "model/cpu_kernels.h"
#include <torch/csrc/autograd/custom_function.h>

namespace clara {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class SwigluNode : public torch::autograd::Function<SwigluNode> {
 public:
  static Tensor forward(AutogradContext* ctx, const Tensor& gate, const Tensor& up) {
    ctx->save_for_backward({gate, up});
    return cpu::take(gate) ? cpu::swiglu(gate.contiguous(), up.contiguous())
                           : torch::silu(gate) * up;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d_outputs) {
    const variable_list saved = ctx->get_saved_variables();
    const Tensor gate = saved[0].contiguous(), up = saved[1].contiguous();
    if (cpu::take(gate)) {
      Tensor d_gate = torch::empty_like(gate), d_up = torch::empty_like(up);
      cpu::swiglu_backward(d_outputs[0].contiguous(), gate, up, d_gate, d_up);
      return {d_gate, d_up};
    }
    const Tensor d_gate = torch::silu_backward(d_outputs[0] * up, gate);
    return {d_gate, d_outputs[0] * torch::silu(gate)};
  }
};

}  // namespace

Tensor swiglu(const Tensor& gate, const Tensor& up) { return SwigluNode::apply(gate, up); }

}  // namespace clara
