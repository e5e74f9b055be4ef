// Low-rank adapters on every linear layer of every block (numerics §1).
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "clara/model/base_config.h"

namespace clara {

/// One adapted linear layer: y += scale · dropout(x) Aᵀ Bᵀ. Trained pairs are float32 leaves.
struct LoraPair {
  torch::Tensor a;  ///< [R, in]; undefined where the layer is not adapted
  torch::Tensor b;  ///< [out, R]
  bool defined() const { return a.defined(); }
};

/// A tensor with the name that files and messages use.
struct NamedTensor {
  std::string name;
  torch::Tensor tensor;
};

struct LoraSettings {
  std::int64_t rank = 16;
  double alpha = 32;
  double dropout = 0.1;
  /// Names of linear layers; empty = all of every block. As in PEFT a name is the end of a layer's
  /// path: "q_proj", or "model.layers.3.self_attn.q_proj" for that of one block.
  std::vector<std::string> target_modules;
};

/// One adapter of the base model. Copies share their tensors.
class LoraAdapter {
 public:
  LoraAdapter() = default;
  /// A ~ U(−1/√in, 1/√in) from `seed`, B = 0, float32 on `device`. A target that matches no layer
  /// is a ConfigError.
  LoraAdapter(const BaseConfig& base, LoraSettings settings, std::uint64_t seed,
              torch::Device device);

  const LoraSettings& settings() const { return settings_; }
  /// α / R.
  double scale() const { return settings_.alpha / static_cast<double>(settings_.rank); }
  /// `projection`: its place in BaseConfig::projections().
  const LoraPair& pair(std::int64_t layer, std::size_t projection) const {
    return pairs_[static_cast<std::size_t>(layer) * projections_.size() + projection];
  }
  /// Every trained tensor under its PEFT file key
  /// ("base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"), by layer, then projection,
  /// A before B.
  std::vector<NamedTensor> named_tensors() const;
  /// Number of trained values.
  std::int64_t num_parameters() const;
  void set_requires_grad(bool on);
  /// Copies the values of another adapter of the same shape. Throws Error if they differ in shape.
  void copy_from(const LoraAdapter& other);
  /// An adapter of the same settings with values of its own.
  LoraAdapter clone() const;
  /// Its values rounded to `dtype`, without gradient, as passes that repeat need them: no pass has
  /// to round them again. Shares its tensors where they have that dtype already.
  LoraAdapter rounded_to(torch::Dtype dtype) const;
  /// Names of the adapted layer kinds, sorted ("down_proj", …); full paths of those kinds that only
  /// some blocks adapt.
  std::vector<std::string> target_module_names() const;

 private:
  LoraSettings settings_;
  std::vector<ProjectionSpec> projections_;
  std::vector<LoraPair> pairs_;  // layer-major
};

/// Path of a block's linear layer in the model: "model.layers.3.self_attn.q_proj".
std::string projection_path(std::int64_t layer, const ProjectionSpec& projection);

/// Whether PEFT's list of target modules names the layer of that path; an empty list names all.
bool is_lora_target(const std::vector<std::string>& target_modules, const std::string& path);

/// Number of values an adapter trains, without making it.
std::int64_t count_lora_parameters(const BaseConfig& base, const LoraSettings& settings);

}  // namespace clara
