// What training needs of a group of processes, named by the need (architecture.md, convention 8).
#pragma once

#include <cstdint>
#include <vector>

#include <torch/types.h>

namespace clara {

/// Collectives over all ranks. Every rank calls the same ones in the same order.
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  /// Element-wise sum over the ranks, in place.
  virtual void sum(torch::Tensor& values) = 0;
  virtual void sum(std::vector<std::int64_t>& values) = 0;
  /// Returns when every rank has called it.
  virtual void barrier() = 0;
};

/// One process: every collective is the identity.
class SingleProcessCommunicator final : public Communicator {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  void sum(torch::Tensor& /*values*/) override {}
  void sum(std::vector<std::int64_t>& /*values*/) override {}
  void barrier() override {}
};

}  // namespace clara
