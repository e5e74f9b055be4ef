// Ranks in processes of their own, over LibTorch's c10d: Gloo for tensors on the CPU, NCCL for
// those on CUDA devices (where that was compiled in).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "clara/parallel/communicator.h"
#include "clara/parallel/launch_env.h"

namespace clara {

struct GroupSettings {
  /// A peer that gives no sign of life, or does not come to a collective, for so long has failed.
  double timeout_seconds = 300;
  /// Where a user sets it, for messages.
  std::string timeout_setting = "parallel.timeout_seconds";
  /// Also makes the NCCL group, for tensors on CUDA device `local_rank`.
  bool with_cuda = false;
  /// Called from a background thread when the group has failed and this rank has not noticed for
  /// another timeout, because it does not come to a collective. It gets the cause and should end
  /// the process; empty: nothing happens.
  std::function<void(const std::string&)> on_stuck;
};

/// Meets the other ranks; a collective. A group of one is a SingleProcessCommunicator. Throws
/// DistributedError: the store cannot be reached, or ranks that did not come are named;
/// ConfigError: with_cuda without NCCL compiled in.
std::unique_ptr<Communicator> join_group(const LaunchEnv& env, const GroupSettings& settings);

}  // namespace clara
