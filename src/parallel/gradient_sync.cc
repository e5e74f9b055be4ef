// Hooks on the leaves, buckets over the flat buffer.
#include "clara/parallel/gradient_sync.h"

#include <algorithm>

#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {

/// Called each time a gradient has been added to its part of the buffer.
class GradientSync::Hook final : public torch::autograd::PostAccumulateGradHook {
 public:
  Hook(GradientSync& owner, std::size_t segment) : owner_(owner), segment_(segment) {}
  void operator()(const torch::autograd::Variable& /*parameter*/) override {
    owner_.on_gradient(segment_);
  }

 private:
  GradientSync& owner_;
  std::size_t segment_;
};

GradientSync::GradientSync(Communicator& communicator, torch::Tensor gradients,
                           std::vector<GradientSegment> segments, std::int64_t bucket_bytes)
    : communicator_(communicator),
      gradients_(std::move(gradients)),
      segments_(std::move(segments)),
      num_fired_(segments_.size(), 0),
      expected_(segments_.size(), 0) {
  const auto value_bytes = static_cast<std::int64_t>(gradients_.element_size());
  std::int64_t total = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    const GradientSegment& s = segments_[i];
    total += s.size;
    const bool goes_on = !buckets_.empty() &&
                         (s.begin + s.size == buckets_.back().begin ||
                          s.begin == buckets_.back().begin + buckets_.back().size) &&
                         (buckets_.back().size + s.size) * value_bytes <= bucket_bytes;
    if (!goes_on) buckets_.push_back({s.begin, 0, {}});
    Bucket& bucket = buckets_.back();
    bucket.begin = std::min(bucket.begin, s.begin);
    bucket.size += s.size;
    bucket.segments.push_back(i);
    bucket_of_segment_.push_back(buckets_.size() - 1);
  }
  if (total != gradients_.numel())
    throw Error("gradient segments of " + std::to_string(total) + " values for a buffer of " +
                std::to_string(gradients_.numel()));
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    torch::autograd::impl::set_post_acc_grad_hooks(segments_[i].parameter,
                                                   std::make_unique<Hook>(*this, i));
  }
}

GradientSync::~GradientSync() {
  for (const GradientSegment& s : segments_)
    torch::autograd::impl::set_post_acc_grad_hooks(s.parameter, nullptr);
}

void GradientSync::begin_backward(bool is_last) {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_last_ = is_last;
  num_overlapped_ = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    expected_[i] = std::max(expected_[i], num_fired_[i]);
    num_fired_[i] = 0;
  }
}

void GradientSync::on_gradient(std::size_t segment) {
  const std::lock_guard<std::mutex> lock(mutex_);
  ++num_fired_[segment];
  if (!is_last_ || error_) return;
  // The engine may not let exceptions of hooks through as they are: finish() throws them.
  try {
    if (bucket_of_segment_[segment] < num_sent_) {
      throw Error(
          "a gradient was added after its bucket had gone to the other ranks: this pass uses a "
          "parameter more often than any pass before it");
    }
    while (num_sent_ < buckets_.size() && is_ready(buckets_[num_sent_])) {
      send_next();
      ++num_overlapped_;
    }
  } catch (...) {
    error_ = std::current_exception();
  }
}

bool GradientSync::is_ready(const Bucket& bucket) const {
  return std::all_of(bucket.segments.begin(), bucket.segments.end(), [&](std::size_t s) {
    return expected_[s] > 0 && num_fired_[s] >= expected_[s];
  });
}

void GradientSync::send_next() {
  const Bucket& bucket = buckets_[num_sent_];
  pending_.push_back(communicator_.start_sum(gradients_.narrow(0, bucket.begin, bucket.size)));
  ++num_sent_;
}

void GradientSync::finish() {
  const std::lock_guard<std::mutex> lock(mutex_);
  is_last_ = false;
  if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  while (num_sent_ < buckets_.size()) send_next();
  for (const std::unique_ptr<PendingSum>& sum : pending_) sum->wait();
  pending_.clear();
  num_sent_ = 0;
  for (std::size_t i = 0; i < segments_.size(); ++i) {
    expected_[i] = std::max(expected_[i], num_fired_[i]);
    num_fired_[i] = 0;
  }
}

}  // namespace clara
