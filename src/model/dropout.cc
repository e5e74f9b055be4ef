// CPU: counter-based hash. Other devices: a generator of the device's kind, seeded for each mask.
#include "model/dropout.h"

#include <mutex>

#include <ATen/Context.h>
#include <ATen/core/Generator.h>

namespace clara {
namespace {

torch::Tensor device_mask(const torch::Tensor& like, const DropoutSpec& spec) {
  // Drawing locks the generator, so it must not be locked here; a copy is this call's own. Tensors
  // without values have no generator of their own.
  at::Generator generator = [&] {
    const torch::Device device = like.is_meta() ? torch::Device(torch::kCPU) : like.device();
    at::Generator shared = at::globalContext().defaultGenerator(device);
    const std::lock_guard<std::mutex> lock(shared.mutex());
    return shared.clone();
  }();
  generator.set_current_seed(spec.seed);
  return torch::empty_like(like, like.options().dtype(torch::kBool))
      .bernoulli_(1.0 - spec.probability, generator);
}

}  // namespace

torch::Tensor apply_dropout(const torch::Tensor& x, const DropoutSpec& spec) {
  if (!spec.active()) return x;
  if (cpu::take(x)) return cpu::dropout(x, spec);
  return x * device_mask(x, spec) * (1.0 / (1.0 - spec.probability));
}

void accumulate_dropout(torch::Tensor& target, const torch::Tensor& grad, const DropoutSpec& spec) {
  if (!spec.active()) {
    target.add_(grad);
  } else if (cpu::take(target)) {
    cpu::add_dropout(target, grad, spec);
  } else {
    target.addcmul_(grad, device_mask(grad, spec).to(grad.dtype()), 1.0 / (1.0 - spec.probability));
  }
}

}  // namespace clara
