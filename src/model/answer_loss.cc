// Chunked softmax cross-entropy: what backward needs is [A, D] and [E, D], never [A, V].
#include "clara/model/answer_loss.h"

#include <algorithm>

#include "model/cpu_kernels.h"
#include <torch/csrc/autograd/custom_function.h>
#include <torch/torch.h>

namespace clara {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Turns the logits of a chunk (base part, added part) into d(sum of losses)/d(logits) in place;
/// returns the losses.
Tensor softmax_gradient(Tensor& base, Tensor& added, const Tensor& targets, bool with_gradient) {
  if (cpu::take(base)) return cpu::cross_entropy_rows(base, added, targets, with_gradient);
  const Tensor logits = torch::cat({base, added}, 1).to(torch::kFloat32);
  const Tensor log_p = torch::log_softmax(logits, 1);
  const Tensor index = targets.unsqueeze(1);
  Tensor nll = -log_p.gather(1, index).squeeze(1);
  if (with_gradient) {
    const Tensor gradient =
        log_p.exp().scatter_add_(1, index, torch::full_like(index, -1.0, log_p.options()));
    base.copy_(gradient.narrow(1, 0, base.size(1)));
    added.copy_(gradient.narrow(1, base.size(1), added.size(1)));
  }
  return nll;
}

class CrossEntropyNode : public torch::autograd::Function<CrossEntropyNode> {
 public:
  static variable_list forward(AutogradContext* ctx, const Tensor& hidden, const Tensor& added_rows,
                               const Tensor& head, const Tensor& targets, std::int64_t chunk,
                               bool hidden_needs, bool added_needs) {
    const Tensor added = added_rows.to(hidden.dtype());
    const std::int64_t count = hidden.size(0);
    std::vector<Tensor> losses;
    Tensor d_hidden = hidden_needs ? torch::empty_like(hidden) : Tensor();
    Tensor d_added = added_needs ? torch::zeros_like(added_rows) : Tensor();
    for (std::int64_t begin = 0; begin < count; begin += chunk) {
      const std::int64_t size = std::min(chunk, count - begin);
      const Tensor h = hidden.narrow(0, begin, size);
      Tensor base = torch::mm(h, head.t()), extra = torch::mm(h, added.t());
      losses.push_back(softmax_gradient(base, extra, targets.narrow(0, begin, size),
                                        hidden_needs || added_needs));
      if (hidden_needs) {
        Tensor part = d_hidden.narrow(0, begin, size);
        torch::mm_out(part, base, head);
        part.addmm_(extra, added);
      }
      if (added_needs) d_added.add_(torch::mm(extra.t(), h));
    }
    const Tensor nll = losses.empty() ? torch::zeros({0}, hidden.options().dtype(torch::kFloat32))
                                      : torch::cat(losses);
    ctx->mark_non_differentiable({nll});
    ctx->save_for_backward({d_hidden, d_added});
    return {nll.sum(), nll};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d_outputs) {
    const variable_list saved = ctx->get_saved_variables();
    const auto scaled = [&](const Tensor& t) {
      return t.defined() ? t * d_outputs[0].to(t.dtype()) : t;
    };
    return {scaled(saved[0]), scaled(saved[1]), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

CrossEntropyResult chunked_cross_entropy(const Tensor& hidden, const Tensor& head,
                                         const Tensor& added_rows, const Tensor& targets,
                                         std::int64_t chunk) {
  const bool grad = at::GradMode::is_enabled();
  const auto outputs =
      CrossEntropyNode::apply(hidden, added_rows, head, targets, chunk,
                              grad && hidden.requires_grad(), grad && added_rows.requires_grad());
  return {outputs[0], outputs[1]};
}

Tensor answer_logits(const Tensor& hidden, const Tensor& head, const Tensor& added_rows) {
  const torch::NoGradGuard no_grad;
  return torch::cat(
             {torch::mm(hidden, head.t()), torch::mm(hidden, added_rows.to(hidden.dtype()).t())}, 1)
      .to(torch::kFloat32);
}

}  // namespace clara
