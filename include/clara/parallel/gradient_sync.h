// Sums of gradients over the ranks, in buckets, while the backward pass still computes the others
// (architecture.md, convention 7).
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <vector>

#include <torch/types.h>

#include "clara/parallel/communicator.h"

namespace clara {

/// A parameter whose gradient is a part of the flat buffer.
struct GradientSegment {
  torch::Tensor parameter;
  std::int64_t begin = 0;
  std::int64_t size = 0;
};

/// Buckets go out in one fixed order on every rank, whatever each rank's backward pass touches; a
/// bucket waits for those before it. Parameters that got no gradient here take part with what the
/// buffer holds. The sums are the same bits with and without overlap.
class GradientSync {
 public:
  /// `gradients` [P]: the flat buffer; `segments`: all of it, in the order in which a backward pass
  /// usually finishes them. Hooks stand on the parameters as long as this lives.
  GradientSync(Communicator& communicator, torch::Tensor gradients,
               std::vector<GradientSegment> segments, std::int64_t bucket_bytes);
  GradientSync(const GradientSync&) = delete;
  GradientSync& operator=(const GradientSync&) = delete;
  ~GradientSync();

  Communicator& communicator() { return communicator_; }
  std::int64_t num_buckets() const { return static_cast<std::int64_t>(buckets_.size()); }
  /// Buckets of the last step that went out before its backward pass had ended.
  std::int64_t num_overlapped() const { return num_overlapped_; }

  /// Before each backward pass of a step; `is_last`: the buffer is whole afterwards.
  void begin_backward(bool is_last);
  /// The end of the step's backward passes (there may have been none): sends out what is left and
  /// returns when the buffer holds the sums. A collective.
  void finish();

 private:
  class Hook;
  struct Bucket {
    std::int64_t begin = 0, size = 0;
    std::vector<std::size_t> segments;
  };

  void on_gradient(std::size_t segment);
  bool is_ready(const Bucket& bucket) const;
  void send_next();

  Communicator& communicator_;
  torch::Tensor gradients_;
  std::vector<GradientSegment> segments_;
  std::vector<Bucket> buckets_;
  std::vector<std::size_t> bucket_of_segment_;
  // How often a parameter's gradient was accumulated in this backward pass, and the most so far in
  // any: with activation checkpointing, or where a parameter serves two passes, that is not once.
  std::vector<std::int64_t> num_fired_, expected_;
  std::mutex mutex_;
  bool is_last_ = false;
  std::size_t num_sent_ = 0;
  std::int64_t num_overlapped_ = 0;
  std::vector<std::unique_ptr<PendingSum>> pending_;
  std::exception_ptr error_;
};

}  // namespace clara
