// Pinned copies to the device, marked waits for it.
#include "common/device_copy.h"

#include <ATen/record_function.h>
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

}  // namespace clara
