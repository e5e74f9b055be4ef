// The ways in which values pass between the host and the device during a step. On CUDA a copy from
// pageable memory and every look at a value stop the host until the device is through with all its
// work; these are the only places where that may happen, so that it can be counted.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include <c10/core/Event.h>
#include <torch/types.h>

namespace clara {

/// The name under which tests see `to_device`.
inline constexpr const char* kToDevice = "clara_to_device";
/// `host`, a tensor on the CPU, on `device`. On CUDA from pinned memory and in the stream's order:
/// nobody waits.
torch::Tensor to_device(const torch::Tensor& host, torch::Device device);
/// Indices [n] int64.
torch::Tensor to_device(const std::vector<std::int64_t>& indices, torch::Device device);

/// The name under which profiles and tests see `read_on_host`.
inline constexpr const char* kHostWait = "clara_host_wait";
/// The values of `tensor` on the CPU. The host waits for the device.
torch::Tensor read_on_host(const torch::Tensor& tensor);

/// The values of a tensor on their way to the host, in the stream's order: nobody waits before they
/// are asked for.
class HostCopy {
 public:
  explicit HostCopy(const torch::Tensor& tensor);
  /// Whether values() would not wait.
  bool is_ready() const;
  /// The values on the CPU. The host waits for them where they are not ready.
  torch::Tensor values() const;

 private:
  torch::Tensor source_;  // undefined where host_ gets the values
  torch::Tensor host_;
  std::optional<c10::Event> copied_;
};

}  // namespace clara
