// The step as convention 7 states it.
#include "clara/trainer/train_step.h"

#include <algorithm>
#include <cmath>

#include <ATen/record_function.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {

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
  const std::vector<TermSpec> terms = objective.terms(step);
  // Totals first: every rank divides by the counts of the whole step, also a rank that got no rows.
  std::vector<std::int64_t> totals(terms.size() + 3, 0);
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

  optimizer.zero_gradients();
  torch::Tensor sums =
      torch::zeros({static_cast<std::int64_t>(terms.size())}, optimizer.gradients().options());
  for (const MicroBatch& batch : form_micro_batches(rows, objective, settings)) {
    const MicroBatchContext context{step, communicator.rank(), result.micro_batches++,
                                    settings.seed, true};
    const std::vector<LossTerm> losses = objective.forward(batch, context);
    torch::Tensor loss;
    for (std::size_t i = 0; i < terms.size(); ++i) {
      sums[static_cast<std::int64_t>(i)].add_(losses[i].sum.detach());
      if (terms[i].weight == 0 || totals[i] == 0) continue;
      const torch::Tensor share =
          losses[i].sum * (terms[i].weight / static_cast<double>(totals[i]));
      loss = loss.defined() ? loss + share : share;
    }
    if (loss.defined()) {
      RECORD_USER_SCOPE("clara::backward");
      loss.backward();
    }
  }
  {
    RECORD_USER_SCOPE("clara::reduce");
    communicator.sum(optimizer.gradients());
    communicator.sum(sums);
  }

  const torch::Tensor host_sums = sums.to(torch::kCPU, torch::kFloat64);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const double mean = totals[i] == 0 ? 0.0
                                       : host_sums[static_cast<std::int64_t>(i)].item<double>() /
                                             static_cast<double>(totals[i]);
    result.terms[terms[i].name] = mean;
    result.loss += terms[i].weight * mean;
  }
  result.gradient_norm = optimizer.gradient_norm();
  if (!std::isfinite(result.loss) || !std::isfinite(result.gradient_norm)) {
    std::string places;
    if (!rows.empty())
      places = " (rows from " + rows.front().place + " to " + rows.back().place + ")";
    throw NonFiniteError("rank " + std::to_string(communicator.rank()) + " of " +
                         std::to_string(communicator.size()) + " stopped: non-finite " +
                         (std::isfinite(result.loss) ? "gradient" : "loss") + " at step " +
                         std::to_string(step + 1) + places);
  }
  return result;
}

StepResult train_step(Objective& objective, AdamW& optimizer, Communicator& communicator,
                      const std::vector<Example>& rows, std::int64_t step, double learning_rate,
                      const StepSettings& settings) {
  StepResult result =
      accumulate_gradients(objective, optimizer, communicator, rows, step, settings);
  result.learning_rate = learning_rate;
  if (result.rows == 0) return result;  // every row was skipped: no update, not even by momentum
  RECORD_USER_SCOPE("clara::optimizer");
  optimizer.clip(result.gradient_norm);
  optimizer.step(learning_rate);
  return result;
}

}  // namespace clara
