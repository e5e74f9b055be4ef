// The block's forward reads like the paper's figure; the nodes it calls hold the gradients.
#include "model/decoder_layer.h"

#include <optional>
#include <vector>

#include "model/cached_attention.h"
#include "model/few_rows_product.h"
#include "model/lora_linear.h"
#include "model/rms_norm.h"
#include "model/swiglu.h"
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include "clara/common/seeds.h"

namespace clara {
namespace {

using torch::Tensor;

/// The normed stream as an input of projections: the norm keeps the residual anyway.
LinearInput normed_input(const NormedResidual& n, const Tensor& weight) {
  return {n.normed, {n.residual, n.rstd, weight}, [](const std::vector<Tensor>& sources) {
            return normed_again(sources[0], sources[1], sources[2]);
          }};
}

/// The SwiGLU's result as an input of a projection: the SwiGLU keeps gate and up anyway.
LinearInput swiglu_input(const Tensor& gate, const Tensor& up) {
  return {swiglu(gate, up), {gate, up}, [](const std::vector<Tensor>& sources) {
            return swiglu(sources[0], sources[1]);
          }};
}

/// Results of the group's projections, which share the input.
std::vector<Tensor> project(const LinearInput& input, ProjectionGroup group,
                            const BlockContext& c) {
  const ProjectionRange range = c.config->projection_range(group);
  std::vector<AdaptedLinear> layers;
  for (std::size_t p = range.first; p < range.first + range.count; ++p) {
    layers.push_back({c.weights->projections[p], c.weights->biases[p],
                      c.adapter != nullptr ? c.adapter->pair(c.layer, p) : LoraPair{}});
  }
  const double scale = c.adapter != nullptr ? c.adapter->scale() : 1.0;
  if (c.layout == nullptr) return decoding_linear(input.x, layers, scale);
  DropoutSpec dropout{c.pass.dropout, 0};
  if (dropout.active()) {
    dropout.seed =
        derive_seed(c.pass.dropout_seed, "lora_dropout",
                    {static_cast<std::uint64_t>(c.layer), static_cast<std::uint64_t>(range.first)});
  }
  return lora_linear(input, std::move(layers), scale, dropout);
}

/// The group's results of these widths, also where one matrix makes them all.
std::vector<Tensor> project_parts(const LinearInput& input, ProjectionGroup group,
                                  const std::vector<std::int64_t>& widths, const BlockContext& c) {
  std::vector<Tensor> results = project(input, group, c);
  return results.size() == widths.size() ? results : results[0].split_with_sizes(widths, 1);
}

/// RMSNorm over each head (Qwen3). x [T, heads·hd].
Tensor head_norm(const Tensor& x, const Tensor& weight, double eps) {
  const std::int64_t head_dim = weight.size(0);
  return add_rms_norm(x.reshape({-1, head_dim}), {}, weight, eps).normed.view(x.sizes());
}

struct CheckpointHolder : torch::CustomClassHolder {
  BlockContext context;
};

/// Keeps the inputs alone. `anchor` requires grad, so that the node exists even where the stream
/// needs no gradient.
class CheckpointNode : public torch::autograd::Function<CheckpointNode> {
 public:
  static torch::autograd::variable_list forward(
      torch::autograd::AutogradContext* ctx, const Tensor& x,
      const std::optional<Tensor>& maybe_delta, const Tensor& /*anchor*/,
      const c10::intrusive_ptr<CheckpointHolder>& holder) {
    const Tensor delta = maybe_delta.value_or(Tensor());
    ctx->save_for_backward({x, delta});
    ctx->saved_data["holder"] = c10::IValue::make_capsule(holder);
    const Stream out = decoder_layer({x, delta}, holder->context);
    return {out.x, out.delta};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 const torch::autograd::variable_list& d_outputs) {
    const auto saved = ctx->get_saved_variables();
    const auto holder =
        c10::static_intrusive_pointer_cast<CheckpointHolder>(ctx->saved_data["holder"].toCapsule());
    const at::AutoGradMode enable_grad(true);
    Stream in{saved[0].detach(), saved[1].defined() ? saved[1].detach() : Tensor()};
    in.x.set_requires_grad(true);
    if (in.delta.defined()) in.delta.set_requires_grad(true);
    const Stream out = decoder_layer(in, holder->context);
    std::vector<Tensor> roots, gradients;
    for (std::size_t i = 0; i < 2; ++i) {
      if (!d_outputs[i].defined()) continue;
      roots.push_back(i == 0 ? out.x : out.delta);
      gradients.push_back(d_outputs[i]);
    }
    // The adapter's leaves collect their gradients directly.
    torch::autograd::backward(roots, gradients);
    return {in.x.grad(), in.delta.defined() ? in.delta.grad() : Tensor(), Tensor(), Tensor()};
  }
};

}  // namespace

Stream decoder_layer(const Stream& in, const BlockContext& c) {
  const AttentionShape shape{c.config->num_heads, c.config->num_kv_heads, c.config->head_dim};
  const std::int64_t q_width = shape.num_heads * shape.head_dim,
                     kv_width = shape.num_kv_heads * shape.head_dim,
                     inner = c.config->intermediate_size;
  const double eps = c.config->rms_norm_eps;

  const NormedResidual before = add_rms_norm(in.x, in.delta, c.weights->input_norm, eps);
  std::vector<Tensor> qkv = project_parts(normed_input(before, c.weights->input_norm),
                                          ProjectionGroup::kQkv, {q_width, kv_width, kv_width}, c);
  if (c.config->qk_norm) {
    qkv[0] = head_norm(qkv[0], c.weights->q_norm, eps);
    qkv[1] = head_norm(qkv[1], c.weights->k_norm, eps);
  }
  const Tensor attended =
      c.layout != nullptr
          ? packed_attention(qkv[0], qkv[1], qkv[2], shape, c.layout, c.rotary, c.cache)
          : cached_attention({qkv[0], qkv[1], qkv[2], c.positions, c.longest, c.rotary}, shape,
                             *c.cache);
  const Tensor attention_out = project(attended, ProjectionGroup::kOutput, c)[0];

  const NormedResidual middle =
      add_rms_norm(before.residual, attention_out, c.weights->post_attention_norm, eps);
  const std::vector<Tensor> gate_up =
      project_parts(normed_input(middle, c.weights->post_attention_norm), ProjectionGroup::kGateUp,
                    {inner, inner}, c);
  return {middle.residual,
          project(swiglu_input(gate_up[0], gate_up[1]), ProjectionGroup::kDown, c)[0]};
}

Stream checkpointed_decoder_layer(const Stream& in, const BlockContext& context) {
  if (!at::GradMode::is_enabled()) return decoder_layer(in, context);
  auto holder = c10::make_intrusive<CheckpointHolder>();
  holder->context = context;
  const Tensor anchor =
      torch::zeros({1}, in.x.options().dtype(torch::kFloat32)).set_requires_grad(true);
  const auto out = CheckpointNode::apply(
      in.x, in.delta.defined() ? std::optional<Tensor>(in.delta) : std::nullopt, anchor, holder);
  return {out[0], out[1]};
}

}  // namespace clara
