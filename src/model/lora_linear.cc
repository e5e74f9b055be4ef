// The autograd node of frozen linear + LoRA.
#include "model/lora_linear.h"

#include <array>
#include <optional>
#include <utility>

#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

using MaybeTensor = std::optional<Tensor>;

constexpr std::size_t kMaxLayers = 3;

/// What backward needs besides saved tensors.
struct LinearGroup : torch::CustomClassHolder {
  std::vector<AdaptedLinear> layers;
  std::vector<Tensor> sources;  ///< of x, until forward hands them to autograd
  Tensor (*input_again)(const std::vector<Tensor>& sources) = nullptr;
  double scale = 1;
  DropoutSpec dropout;

  std::vector<std::size_t> adapted() const {
    std::vector<std::size_t> result;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      if (layers[i].lora.defined()) result.push_back(i);
    }
    return result;
  }
  /// A of all adapted layers below each other, in `dtype`: [ΣR, in].
  Tensor stacked_a(const std::vector<std::size_t>& which, torch::Dtype dtype) const {
    if (which.size() == 1) return layers[which[0]].lora.a.to(dtype);
    std::vector<Tensor> parts;
    for (std::size_t i : which) parts.push_back(layers[i].lora.a);
    return torch::cat(parts).to(dtype);
  }
};

class LoraLinearNode : public torch::autograd::Function<LoraLinearNode> {
 public:
  // The pairs are arguments of their own so that autograd sees them; the group holds the same
  // tensors.
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const MaybeTensor& /*a0*/,
                               const MaybeTensor& /*b0*/, const MaybeTensor& /*a1*/,
                               const MaybeTensor& /*b1*/, const MaybeTensor& /*a2*/,
                               const MaybeTensor& /*b2*/,
                               const c10::intrusive_ptr<LinearGroup>& group) {
    variable_list outputs;
    for (const AdaptedLinear& layer : group->layers) {
      outputs.push_back(layer.bias.defined() ? torch::addmm(layer.bias, x, layer.weight.t())
                                             : torch::mm(x, layer.weight.t()));
    }
    const std::vector<std::size_t> adapted = group->adapted();
    Tensor u;
    if (!adapted.empty()) {
      const auto dtype = x.scalar_type();
      u = torch::mm(apply_dropout(x, group->dropout), group->stacked_a(adapted, dtype).t());
      const std::int64_t rank = group->layers[adapted[0]].lora.a.size(0);
      for (std::size_t k = 0; k < adapted.size(); ++k) {
        const Tensor b = group->layers[adapted[k]].lora.b.to(dtype);
        outputs[adapted[k]].addmm_(u.narrow(1, static_cast<std::int64_t>(k) * rank, rank), b.t(), 1,
                                   group->scale);
      }
    }
    variable_list kept = std::exchange(group->sources, {});
    if (adapted.empty()) {
      kept.clear();  // a frozen layer's backward does not look at its input
    } else if (kept.empty()) {
      kept.push_back(x);
    }
    kept.push_back(u);
    ctx->save_for_backward(std::move(kept));
    ctx->saved_data["group"] = c10::IValue::make_capsule(group);
    return outputs;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& d_outputs) {
    variable_list kept = ctx->get_saved_variables();
    const Tensor u = kept.back();
    kept.pop_back();
    const auto group =
        c10::static_intrusive_pointer_cast<LinearGroup>(ctx->saved_data["group"].toCapsule());
    const auto dtype = group->layers[0].weight.scalar_type();
    // Edges are numbered over the tensors that exist: x, then A and B of the k-th adapted layer.
    const auto a_edge = [](std::size_t k) { return 1 + 2 * k; };
    const auto b_edge = [](std::size_t k) { return 2 + 2 * k; };
    const bool needs_dx = ctx->needs_input_grad(0);
    variable_list gradients(2 + 2 * kMaxLayers);

    Tensor dx;
    if (needs_dx) {
      for (std::size_t i = 0; i < d_outputs.size(); ++i) {
        if (!d_outputs[i].defined()) continue;
        const Tensor& weight = group->layers[i].weight;
        if (dx.defined()) {
          dx.addmm_(d_outputs[i], weight);
        } else {
          dx = torch::mm(d_outputs[i], weight);
        }
      }
    }
    const std::vector<std::size_t> adapted = group->adapted();
    if (!adapted.empty()) {
      const std::int64_t rank = group->layers[adapted[0]].lora.a.size(0);
      Tensor v = torch::empty_like(u);  // dL/du, all adapted layers side by side
      for (std::size_t k = 0; k < adapted.size(); ++k) {
        const std::size_t i = adapted[k];
        Tensor v_k = v.narrow(1, static_cast<std::int64_t>(k) * rank, rank);
        if (!d_outputs[i].defined()) {
          v_k.zero_();
          continue;
        }
        torch::mm_out(v_k, d_outputs[i], group->layers[i].lora.b.to(dtype));
        if (ctx->needs_input_grad(b_edge(k))) {
          const Tensor u_k = u.narrow(1, static_cast<std::int64_t>(k) * rank, rank);
          gradients[2 + 2 * i] =
              torch::mm(d_outputs[i].t(), u_k).to(torch::kFloat32).mul_(group->scale);
        }
      }
      bool needs_da = false;
      for (std::size_t k = 0; k < adapted.size(); ++k)
        needs_da = needs_da || ctx->needs_input_grad(a_edge(k));
      if (needs_da) {
        const Tensor x = group->input_again != nullptr ? group->input_again(kept) : kept[0];
        const Tensor da = torch::mm(v.t(), apply_dropout(x, group->dropout))
                              .to(torch::kFloat32)
                              .mul_(group->scale);
        for (std::size_t k = 0; k < adapted.size(); ++k) {
          gradients[1 + 2 * adapted[k]] = da.narrow(0, static_cast<std::int64_t>(k) * rank, rank);
        }
      }
      if (needs_dx) {
        const Tensor a = group->stacked_a(adapted, dtype);
        if (group->dropout.active()) {
          accumulate_dropout(dx, torch::mm(v, a).mul_(group->scale), group->dropout);
        } else {
          dx.addmm_(v, a, 1, group->scale);
        }
      }
    }
    gradients[0] = dx;
    return gradients;
  }
};

}  // namespace

std::vector<Tensor> lora_linear(const LinearInput& input, std::vector<AdaptedLinear> layers,
                                double scale, const DropoutSpec& dropout) {
  if (layers.empty() || layers.size() > kMaxLayers)
    throw Error("lora_linear takes one to three layers");
  std::array<LoraPair, kMaxLayers> pairs;
  for (std::size_t i = 0; i < layers.size(); ++i) pairs[i] = layers[i].lora;
  auto group = c10::make_intrusive<LinearGroup>();
  group->layers = std::move(layers);
  group->sources = input.sources;
  group->input_again = input.sources.empty() ? nullptr : input.again;
  group->scale = scale;
  group->dropout = dropout;
  const auto maybe = [](const Tensor& t) { return t.defined() ? MaybeTensor(t) : std::nullopt; };
  return LoraLinearNode::apply(input.x, maybe(pairs[0].a), maybe(pairs[0].b), maybe(pairs[1].a),
                               maybe(pairs[1].b), maybe(pairs[2].a), maybe(pairs[2].b), group);
}

}  // namespace clara
