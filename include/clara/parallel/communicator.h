// What training needs of a group of processes, named by the need (architecture.md, convention 8).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

namespace clara {

/// A sum over the ranks that is under way.
class PendingSum {
 public:
  PendingSum() = default;
  PendingSum(const PendingSum&) = delete;
  PendingSum& operator=(const PendingSum&) = delete;
  virtual ~PendingSum() = default;
  /// Returns when the tensor holds the sum. At most once.
  virtual void wait() = 0;
};

/// Collectives over all ranks. Every rank calls the same ones in the same order. Where a peer is
/// dead, hangs or has failed, every collective throws DistributedError with that rank, its step and
/// the cause, within the group's timeout; from then on the group is of no use.
class Communicator {
 public:
  Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;
  virtual ~Communicator() = default;

  virtual std::int64_t rank() const = 0;
  virtual std::int64_t size() const = 0;
  /// Number of this rank among those of its node: the device it computes on.
  virtual std::int64_t local_rank() const = 0;

  /// Element-wise sum over the ranks, in place; the same bits on every rank.
  virtual void sum(torch::Tensor& values) = 0;
  virtual void sum(std::vector<std::int64_t>& values) = 0;
  /// Starts the sum of a contiguous tensor, in place; nobody touches it until wait() returned.
  virtual std::unique_ptr<PendingSum> start_sum(torch::Tensor values) = 0;
  /// The bytes of every rank, by rank; each may give another number of them.
  virtual std::vector<std::string> gather(const std::string& bytes) = 0;
  /// Returns when every rank has called it.
  virtual void barrier() = 0;

  /// The step that this rank works on, counted from 1, for messages about it; 0: none yet.
  virtual void set_step(std::int64_t step) = 0;
  /// Tells the other ranks that this one ends, and why; no collective. Each of them throws that
  /// cause from its next collective, or the one it waits in.
  virtual void announce_failure(const std::string& cause) = 0;
  /// The end of the work, a collective: afterwards a rank may end without being missed.
  virtual void leave() = 0;
};

/// One process: every collective is the identity.
class SingleProcessCommunicator final : public Communicator {
 public:
  std::int64_t rank() const override { return 0; }
  std::int64_t size() const override { return 1; }
  std::int64_t local_rank() const override { return 0; }
  void sum(torch::Tensor& /*values*/) override {}
  void sum(std::vector<std::int64_t>& /*values*/) override {}
  std::unique_ptr<PendingSum> start_sum(torch::Tensor /*values*/) override {
    return std::make_unique<FinishedSum>();
  }
  std::vector<std::string> gather(const std::string& bytes) override { return {bytes}; }
  void barrier() override {}
  void set_step(std::int64_t /*step*/) override {}
  void announce_failure(const std::string& /*cause*/) override {}
  void leave() override {}

 private:
  class FinishedSum final : public PendingSum {
   public:
    void wait() override {}
  };
};

}  // namespace clara
