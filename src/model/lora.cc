// LoRA parameters: construction, naming, copying.
#include "clara/model/lora.h"

#include <algorithm>
#include <cmath>

#include <ATen/CPUGeneratorImpl.h>

#include "clara/common/error.h"

namespace clara {
namespace {

void check_targets(const LoraSettings& settings, const BaseConfig& base) {
  const std::vector<ProjectionSpec> projections = base.projections();
  std::string known;
  for (const ProjectionSpec& p : projections)
    known += (known.empty() ? "" : ", ") + p.module_name();
  for (const std::string& target : settings.target_modules) {
    bool found = false;
    for (std::int64_t layer = 0; layer < base.num_layers && !found; ++layer) {
      found = std::any_of(projections.begin(), projections.end(), [&](const ProjectionSpec& p) {
        return is_lora_target({target}, projection_path(layer, p));
      });
    }
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
  check_targets(settings_, base);
  at::Generator generator = at::detail::createCPUGenerator(seed);
  pairs_.resize(static_cast<std::size_t>(base.num_layers) * projections_.size());
  for (std::size_t i = 0; i < pairs_.size(); ++i) {
    const ProjectionSpec& projection = projections_[i % projections_.size()];
    const auto layer = static_cast<std::int64_t>(i / projections_.size());
    if (!is_lora_target(settings_.target_modules, projection_path(layer, projection))) continue;
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
    const std::string prefix =
        "base_model.model." + projection_path(static_cast<std::int64_t>(i / projections_.size()),
                                              projections_[i % projections_.size()]);
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

LoraAdapter LoraAdapter::clone() const {
  LoraAdapter copy = *this;
  for (LoraPair& pair : copy.pairs_) {
    if (pair.defined()) pair = {pair.a.detach().clone(), pair.b.detach().clone()};
  }
  return copy;
}

LoraAdapter LoraAdapter::rounded_to(torch::Dtype dtype) const {
  LoraAdapter copy = *this;
  for (LoraPair& pair : copy.pairs_) {
    if (pair.defined()) pair = {pair.a.detach().to(dtype), pair.b.detach().to(dtype)};
  }
  return copy;
}

std::vector<std::string> LoraAdapter::target_module_names() const {
  const std::size_t num_layers = pairs_.size() / projections_.size();
  std::vector<std::string> names;
  for (std::size_t p = 0; p < projections_.size(); ++p) {
    std::vector<std::string> paths;
    for (std::size_t layer = 0; layer < num_layers; ++layer) {
      if (pairs_[layer * projections_.size() + p].defined())
        paths.push_back(projection_path(static_cast<std::int64_t>(layer), projections_[p]));
    }
    if (paths.size() == num_layers) paths = {projections_[p].module_name()};
    names.insert(names.end(), paths.begin(), paths.end());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string projection_path(std::int64_t layer, const ProjectionSpec& projection) {
  return "model.layers." + std::to_string(layer) + "." + projection.path;
}

bool is_lora_target(const std::vector<std::string>& target_modules, const std::string& path) {
  return target_modules.empty() ||
         std::any_of(target_modules.begin(), target_modules.end(), [&](const std::string& target) {
           return path == target || path.ends_with("." + target);
         });
}

std::int64_t count_lora_parameters(const BaseConfig& base, const LoraSettings& settings) {
  std::int64_t total = 0;
  for (std::int64_t layer = 0; layer < base.num_layers; ++layer) {
    for (const ProjectionSpec& p : base.projections()) {
      if (is_lora_target(settings.target_modules, projection_path(layer, p)))
        total += settings.rank * (p.in_features + p.out_features);
    }
  }
  return total;
}

}  // namespace clara
