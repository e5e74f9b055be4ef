// Pinned copies to the device, marked waits for it.
#include "common/device_copy.h"

#include <ATen/record_function.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <torch/torch.h>

namespace clara {

torch::Tensor to_device(const torch::Tensor& host, torch::Device device) {
  RECORD_USER_SCOPE(kToDevice);
  if (!device.is_cuda()) return host.to(device);
  // The allocator of pinned memory keeps a block until the stream has passed the copy.
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

torch::Tensor to_device(const std::vector<std::int64_t>& indices, torch::Device device) {
  return to_device(torch::tensor(indices, torch::kInt64), device);
}

torch::Tensor read_on_host(const torch::Tensor& tensor) {
  RECORD_USER_SCOPE(kHostWait);
  return tensor.to(torch::kCPU);
}

HostCopy::HostCopy(const torch::Tensor& tensor) {
  if (tensor.is_cpu()) {
    host_ = tensor;
  } else if (tensor.is_cuda()) {
    host_ = torch::empty(tensor.sizes(), torch::dtype(tensor.scalar_type()).pinned_memory(true));
    host_.copy_(tensor, /*non_blocking=*/true);
    copied_.emplace(torch::kCUDA);
    copied_->record(c10::impl::VirtualGuardImpl(torch::kCUDA).getStream(tensor.device()));
  } else {
    source_ = tensor;
  }
}

bool HostCopy::is_ready() const { return !source_.defined() && (!copied_ || copied_->query()); }

torch::Tensor HostCopy::values() const {
  if (source_.defined()) return read_on_host(source_);
  if (!is_ready()) {
    RECORD_USER_SCOPE(kHostWait);
    copied_->synchronize();
  }
  return host_;
}

}  // namespace clara
