// The step as convention 7 states it.
#include "clara/trainer/train_step.h"

#include <algorithm>
#include <cmath>

#include "common/device_copy.h"
#include <ATen/record_function.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/parallel/launch_env.h"

namespace clara {
namespace {

constexpr std::int64_t kOneBucket = std::int64_t{1} << 62;

/// Gathers which ranks' own sums are not finite, with their rows. A collective; every rank comes
/// here or none, for the sums and the norm are the same on all.
[[noreturn]] void throw_non_finite(Communicator& communicator, const torch::Tensor& own_sums,
                                   const std::vector<Example>& rows, const StepResult& result,
                                   std::int64_t step) {
  const bool is_finite = torch::isfinite(own_sums).all().item<bool>();
  std::string own = std::string(is_finite ? "+" : "-") +
                    rank_name(communicator.rank(), communicator.size()) + " stopped: non-finite " +
                    (std::isfinite(result.loss) ? "gradient" : "loss") + " at step " +
                    std::to_string(step + 1);
  if (!rows.empty()) own += " (rows from " + rows.front().place + " to " + rows.back().place + ")";
  const std::vector<std::string> ranks = communicator.gather(own);
  // Where every loss is finite the gradient is not, and nothing tells whose that was.
  const bool any_loss = std::any_of(ranks.begin(), ranks.end(),
                                    [](const std::string& rank) { return rank[0] == '-'; });
  std::string message;
  for (const std::string& rank : ranks) {
    if (rank[0] == '-' || !any_loss) message += (message.empty() ? "" : "; ") + rank.substr(1);
  }
  throw NonFiniteError(message);
}

}  // namespace

std::vector<MicroBatch> form_micro_batches(const std::vector<Example>& rows,
                                           const Objective& objective,
                                           const StepSettings& settings) {
  MicroBatch by_length;
  for (const Example& row : rows) by_length.push_back(&row);
  std::stable_sort(by_length.begin(), by_length.end(), [&](const Example* a, const Example* b) {
    return objective.num_tokens(*a) > objective.num_tokens(*b);
  });
  std::vector<MicroBatch> batches;
  std::int64_t tokens = 0;
  for (const Example* row : by_length) {
    const std::int64_t cost = objective.num_tokens(*row);
    const bool full =
        !batches.empty() &&
        (settings.rows_per_micro_batch > 0
             ? static_cast<std::int64_t>(batches.back().size()) >= settings.rows_per_micro_batch
             : tokens + cost > settings.max_tokens_per_micro_batch);
    if (batches.empty() || full) {
      batches.emplace_back();
      tokens = 0;
    }
    batches.back().push_back(row);
    tokens += cost;
  }
  return batches;
}

StepResult accumulate_gradients(Objective& objective, AdamW& optimizer, Communicator& communicator,
                                const std::vector<Example>& rows, std::int64_t step,
                                const StepSettings& settings) {
  GradientSync sync(communicator, optimizer.gradients(), optimizer.gradient_segments(), kOneBucket);
  return accumulate_gradients(objective, optimizer, sync, rows, step, settings);
}

StepResult accumulate_gradients(Objective& objective, AdamW& optimizer, GradientSync& sync,
                                const std::vector<Example>& rows, std::int64_t step,
                                const StepSettings& settings) {
  Communicator& communicator = sync.communicator();
  const std::vector<TermSpec> terms = objective.terms(step);
  // Totals first: every rank divides by the counts of the whole step, also a rank that got no rows.
  const std::vector<MicroBatch> batches = form_micro_batches(rows, objective, settings);
  std::vector<std::int64_t> totals(terms.size() + 4, 0);
  totals[terms.size() + 3] = static_cast<std::int64_t>(batches.size());
  for (const Example& row : rows) {
    const std::vector<std::int64_t> counts = objective.counts(row, step);
    for (std::size_t i = 0; i < terms.size(); ++i) totals[i] += counts[i];
    totals[terms.size()] += 1;
    totals[terms.size() + 1] += objective.num_tokens(row);
    totals[terms.size() + 2] += row.tokens.empty() ? 0 : row.num_answer_tokens();
  }
  communicator.sum(totals);

  StepResult result;
  result.rows = totals[terms.size()];
  result.tokens = totals[terms.size() + 1];
  result.answer_tokens = totals[terms.size() + 2];
  result.micro_batches = totals[terms.size() + 3];

  optimizer.zero_gradients();
  torch::Tensor sums =
      torch::zeros({static_cast<std::int64_t>(terms.size())}, optimizer.gradients().options());
  for (std::size_t b = 0; b < batches.size(); ++b) {
    const MicroBatchContext context{step, communicator.rank(), static_cast<std::int64_t>(b),
                                    settings.seed, true};
    const std::vector<LossTerm> losses = objective.forward(batches[b], context);
    torch::Tensor loss;
    for (std::size_t i = 0; i < terms.size(); ++i) {
      sums[static_cast<std::int64_t>(i)].add_(losses[i].sum.detach());
      if (terms[i].weight == 0 || totals[i] == 0) continue;
      const torch::Tensor share =
          losses[i].sum * (terms[i].weight / static_cast<double>(totals[i]));
      loss = loss.defined() ? loss + share : share;
    }
    sync.begin_backward(b + 1 == batches.size());
    if (loss.defined()) {
      RECORD_USER_SCOPE("clara::backward");
      loss.backward();
    }
  }
  torch::Tensor own_sums, host_sums;
  {
    RECORD_USER_SCOPE("clara::reduce");
    sync.finish();
    // The step's one wait for the device: a step that is not finite must not be taken. Behind it,
    // where a peer has failed meanwhile the sum over ranks throws, and no update is made of what an
    // aborted one left.
    const torch::Tensor read =
        read_on_host(torch::cat({sums, optimizer.gradient_norm().reshape({1})}))
            .to(torch::kFloat64);
    result.gradient_norm = read[-1].item<double>();
    own_sums = read.slice(0, 0, -1);
    host_sums = own_sums.clone();
    communicator.sum(host_sums);
  }

  for (std::size_t i = 0; i < terms.size(); ++i) {
    const double mean = totals[i] == 0 ? 0.0
                                       : host_sums[static_cast<std::int64_t>(i)].item<double>() /
                                             static_cast<double>(totals[i]);
    result.terms[terms[i].name] = mean;
    result.loss += terms[i].weight * mean;
  }
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm))
    throw_non_finite(communicator, own_sums, rows, result, step);
  return result;
}

StepResult train_step(Objective& objective, AdamW& optimizer, Communicator& communicator,
                      const std::vector<Example>& rows, std::int64_t step, double learning_rate,
                      const StepSettings& settings) {
  GradientSync sync(communicator, optimizer.gradients(), optimizer.gradient_segments(), kOneBucket);
  return train_step(objective, optimizer, sync, rows, step, learning_rate, settings);
}

StepResult train_step(Objective& objective, AdamW& optimizer, GradientSync& sync,
                      const std::vector<Example>& rows, std::int64_t step, double learning_rate,
                      const StepSettings& settings) {
  StepResult result = accumulate_gradients(objective, optimizer, sync, rows, step, settings);
  result.learning_rate = learning_rate;
  if (result.rows == 0) return result;  // every row was skipped: no update, not even by momentum
  RECORD_USER_SCOPE("clara::optimizer");
  optimizer.clip(result.gradient_norm);
  optimizer.step(learning_rate);
  return result;
}

}  // namespace clara
