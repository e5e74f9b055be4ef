// LoRA parameters: construction, naming, copying.
#include "clara/model/lora.h"

#include <algorithm>
#include <cmath>

#include <ATen/CPUGeneratorImpl.h>

#include "clara/common/error.h"

namespace clara {
namespace {

bool is_target(const LoraSettings& settings, const ProjectionSpec& projection) {
  const auto& targets = settings.target_modules;
  return targets.empty() ||
         std::find(targets.begin(), targets.end(), projection.module_name()) != targets.end();
}

void check_targets(const LoraSettings& settings, const std::vector<ProjectionSpec>& projections) {
  std::string known;
  for (const ProjectionSpec& p : projections)
    known += (known.empty() ? "" : ", ") + p.module_name();
  for (const std::string& target : settings.target_modules) {
    const bool found =
        std::any_of(projections.begin(), projections.end(),
                    [&](const ProjectionSpec& p) { return p.module_name() == target; });
    if (!found) {
      throw ConfigError("model.lora.target_modules: \"" + target +
                        "\" matches no linear layer of this base model (it has " + known + ")");
    }
  }
}

}  // namespace

LoraAdapter::LoraAdapter(const BaseConfig& base, LoraSettings settings, std::uint64_t seed,
                         torch::Device device)
    : settings_(std::move(settings)), projections_(base.projections()) {
  check_targets(settings_, projections_);
  at::Generator generator = at::detail::createCPUGenerator(seed);
  pairs_.resize(static_cast<std::size_t>(base.num_layers) * projections_.size());
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const ProjectionSpec& projection = projections_[i % projections_.size()];
    if (!is_target(settings_, projection)) continue;
    const double bound = 1.0 / std::sqrt(static_cast<double>(projection.in_features));
    pairs_[i].a = torch::empty({settings_.rank, projection.in_features})
                      .uniform_(-bound, bound, generator)
                      .to(device);
    pairs_[i].b = torch::zeros({projection.out_features, settings_.rank}, device);
  }
}

std::vector<NamedTensor> LoraAdapter::named_tensors() const {
  std::vector<NamedTensor> result;
  result.reserve(2 * pairs_.size());
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    if (!pairs_[i].defined()) continue;
    const std::string prefix = "base_model.model.model.layers." +
                               std::to_string(i / projections_.size()) + "." +
                               projections_[i % projections_.size()].path;
    result.push_back({prefix + ".lora_A.weight", pairs_[i].a});
    result.push_back({prefix + ".lora_B.weight", pairs_[i].b});
  }
  return result;
}

std::int64_t LoraAdapter::num_parameters() const {
  std::int64_t total = 0;
  for (const LoraPair& pair : pairs_) {
    if (pair.defined()) total += pair.a.numel() + pair.b.numel();
  }
  return total;
}

void LoraAdapter::set_requires_grad(bool on) {
  for (LoraPair& pair : pairs_) {
    if (!pair.defined()) continue;
    pair.a.set_requires_grad(on);
    pair.b.set_requires_grad(on);
  }
}

void LoraAdapter::copy_from(const LoraAdapter& other) {
  torch::NoGradGuard no_grad;
  const std::vector<NamedTensor> to = named_tensors(), from = other.named_tensors();
  bool same = to.size() == from.size();
  for (std::size_t i = 0; same && i < to.size(); ++i) {
    same = to[i].name == from[i].name && to[i].tensor.sizes() == from[i].tensor.sizes();
  }
  if (!same)
    throw Error("an adapter can only be copied to one with the same rank and target modules");
  for (std::size_t i = 0; i < to.size(); ++i) to[i].tensor.copy_(from[i].tensor);
}

std::vector<std::string> LoraAdapter::target_module_names() const {
  std::vector<std::string> names;
  for (const ProjectionSpec& projection : projections_) {
    if (is_target(settings_, projection)) names.push_back(projection.module_name());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::int64_t count_lora_parameters(const BaseConfig& base, const LoraSettings& settings) {
  std::int64_t per_layer = 0;
  for (const ProjectionSpec& p : base.projections()) {
    if (is_target(settings, p)) per_layer += settings.rank * (p.in_features + p.out_features);
  }
  return per_layer * base.num_layers;
}

}  // namespace clara
