// Flat AdamW.
#include "clara/trainer/optimizer.h"

#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/safetensors_file.h"

namespace clara {
namespace {

constexpr double kEpsilon = 1e-8;

}  // namespace

AdamW::AdamW(std::vector<TrainedParameter> parameters, const TrainerConfig& config)
    : beta1_(config.adam_betas[0]),
      beta2_(config.adam_betas[1]),
      weight_decay_(config.weight_decay),
      max_norm_(config.max_gradient_norm) {
  if (parameters.empty()) throw Error("an objective must train at least one parameter");
  const torch::NoGradGuard no_grad;
  std::int64_t total = 0;
  for (const TrainedParameter& p : parameters) {
    if (p.tensor.scalar_type() != torch::kFloat32 || !p.tensor.is_leaf() ||
        !p.tensor.requires_grad()) {
      throw Error("trained parameter " + p.name + ": expected a float32 leaf that requires grad");
    }
    segments_.push_back(
        {p.name, p.tensor, total, p.tensor.numel(), p.tensor.sizes().vec(), p.learning_rate_ratio});
    total += p.tensor.numel();
  }
  const auto options = torch::dtype(torch::kFloat32).device(parameters[0].tensor.device());
  values_ = torch::empty({total}, options);
  gradients_ = torch::zeros({total}, options);
  exp_avg_ = torch::zeros({total}, options);
  exp_avg_sq_ = torch::zeros({total}, options);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    torch::Tensor& parameter = parameters[i].tensor;
    const torch::Tensor view =
        values_.narrow(0, segments_[i].begin, segments_[i].size).view(segments_[i].shape);
    view.copy_(parameter);
    parameter.set_data(view);
    parameter.mutable_grad() =
        gradients_.narrow(0, segments_[i].begin, segments_[i].size).view(segments_[i].shape);
  }
}

std::vector<GradientSegment> AdamW::gradient_segments() const {
  // Backward goes from the last adapter's last layer to the first's first; the memory rows are read
  // by the first layer of several passes and are whole when all of these are through.
  std::vector<GradientSegment> in_order, at_the_end;
  for (auto s = segments_.rbegin(); s != segments_.rend(); ++s) {
    (s->name == "memory_rows" ? at_the_end : in_order).push_back({s->parameter, s->begin, s->size});
  }
  in_order.insert(in_order.end(), at_the_end.begin(), at_the_end.end());
  return in_order;
}

torch::Tensor AdamW::gradient_norm() const { return gradients_.norm(); }

void AdamW::clip(double norm) {
  if (norm > max_norm_) gradients_.mul_(max_norm_ / (norm + 1e-6));
}

void AdamW::step(double learning_rate) {
  const torch::NoGradGuard no_grad;
  ++num_updates_;
  const torch::Tensor updates =
      torch::full({}, static_cast<double>(num_updates_), values_.options());
  // Neighbouring segments with one rate are one call.
  for (std::size_t i = 0; i < segments_.size();) {
    std::size_t end = i + 1;
    std::int64_t size = segments_[i].size;
    while (end < segments_.size() &&
           segments_[end].learning_rate_ratio == segments_[i].learning_rate_ratio) {
      size += segments_[end++].size;
    }
    const auto part = [&](const torch::Tensor& buffer) {
      return buffer.narrow(0, segments_[i].begin, size);
    };
    at::_fused_adamw_({part(values_)}, {part(gradients_)}, {part(exp_avg_)}, {part(exp_avg_sq_)},
                      {}, {updates}, learning_rate * segments_[i].learning_rate_ratio, beta1_,
                      beta2_, weight_decay_, kEpsilon,
                      /*amsgrad=*/false, /*maximize=*/false);
    i = end;
  }
}

std::map<std::string, torch::Tensor> AdamW::state() const {
  std::map<std::string, torch::Tensor> state;
  for (const Segment& s : segments_) {
    state.emplace("exp_avg/" + s.name, exp_avg_.narrow(0, s.begin, s.size).view(s.shape));
    state.emplace("exp_avg_sq/" + s.name, exp_avg_sq_.narrow(0, s.begin, s.size).view(s.shape));
  }
  state.emplace("num_updates", torch::full({1}, num_updates_, torch::kInt64));
  return state;
}

void AdamW::load_state(const std::map<std::string, torch::Tensor>& state) {
  const torch::NoGradGuard no_grad;
  const auto find = [&](const std::string& name) {
    const auto it = state.find(name);
    if (it == state.end()) throw CheckpointError("optimizer state: tensor " + name + ": missing");
    return it->second;
  };
  for (const Segment& s : segments_) {
    for (const char* kind : {"exp_avg/", "exp_avg_sq/"}) {
      const torch::Tensor stored = find(kind + s.name);
      if (stored.sizes() != torch::IntArrayRef(s.shape)) {
        throw CheckpointError("optimizer state: tensor " + (kind + s.name) + ": expected " +
                              shape_string(s.shape) + ", found " +
                              shape_string(stored.sizes().vec()));
      }
      torch::Tensor& buffer = std::string_view(kind) == "exp_avg/" ? exp_avg_ : exp_avg_sq_;
      buffer.narrow(0, s.begin, s.size).view(s.shape).copy_(stored);
    }
  }
  if (state.size() != 2 * segments_.size() + 1) {
    throw CheckpointError("optimizer state: expected " + std::to_string(2 * segments_.size() + 1) +
                          " tensors, found " + std::to_string(state.size()) +
                          "; the checkpoint trained other parameters");
  }
  num_updates_ = find("num_updates").item<std::int64_t>();
}

}  // namespace clara
