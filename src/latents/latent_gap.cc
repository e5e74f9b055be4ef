// All latents first: the gap needs other rows' documents.
#include "clara/latents/latent_gap.h"

#include <algorithm>

#include "common/token_batches.h"
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

std::int64_t size_of(const TokenIds& ids) { return static_cast<std::int64_t>(ids.size()); }

/// The documents of all rows and where those of each row begin.
struct AllDocuments {
  std::vector<const TokenIds*> documents;
  std::vector<std::size_t> first;

  explicit AllDocuments(const std::vector<Example>& rows) {
    for (const Example& row : rows) {
      if (row.documents.empty())
        throw Error(row.place + ": latent gap: expected documents, found none");
      first.push_back(documents.size());
      for (const TokenIds& document : row.documents) documents.push_back(&document);
    }
  }

  /// What takes the place of `document` of `row`.
  std::int64_t other(const Example& row, std::size_t document) const {
    for (std::size_t shift = row.documents.size(); shift < documents.size(); ++shift) {
      const std::size_t candidate = (document + shift) % documents.size();
      if (std::find(row.documents.begin(), row.documents.end(), *documents[candidate]) ==
          row.documents.end())
        return static_cast<std::int64_t>(candidate);
    }
    return static_cast<std::int64_t>(document);
  }
};

void compress_all(const ClaraModel& model, const AllDocuments& all, std::int64_t max_batch_tokens,
                  LatentGap& gap) {
  std::vector<std::int64_t> num_tokens;
  for (const TokenIds* document : all.documents) num_tokens.push_back(size_of(*document));
  std::vector<torch::Tensor> latents, alignment;
  for (const ItemRange& batch : token_batches(num_tokens, max_batch_tokens)) {
    const CompressedDocuments compressed = model.compress(
        model.pack({all.documents.begin() + static_cast<std::ptrdiff_t>(batch.begin),
                    all.documents.begin() + static_cast<std::ptrdiff_t>(batch.end)}));
    latents.push_back(compressed.latents_NMD);
    alignment.push_back(compressed.alignment_N);
  }
  gap.latents_NMD = torch::cat(latents);
  gap.alignment_N = torch::cat(alignment);
}

}  // namespace

LatentGap measure_latent_gap(const ClaraModel& model, const std::vector<Example>& rows,
                             std::int64_t max_batch_tokens) {
  const torch::NoGradGuard no_grad;
  if (rows.empty()) throw Error("latent gap: expected rows, found none");
  const AllDocuments all(rows);
  LatentGap gap;
  compress_all(model, all, max_batch_tokens, gap);
  std::vector<std::int64_t> num_tokens;
  for (const Example& row : rows) num_tokens.push_back(size_of(row.tokens));
  for (const ItemRange& batch : token_batches(num_tokens, max_batch_tokens)) {
    std::vector<const TokenIds*> sequences;
    std::vector<std::int32_t> prompt_lengths;
    std::vector<std::int64_t> own, other;
    for (std::size_t n = batch.begin; n < batch.end; ++n) {
      sequences.push_back(&rows[n].tokens);
      prompt_lengths.push_back(rows[n].prompt_length);
      for (std::size_t k = 0; k < rows[n].documents.size(); ++k) {
        own.push_back(static_cast<std::int64_t>(all.first[n] + k));
        other.push_back(all.other(rows[n], all.first[n] + k));
      }
    }
    const AnswerBatch answers = model.pack_answers(sequences, prompt_lengths);
    const auto losses_with = [&](const std::vector<std::int64_t>& which) {
      const torch::Tensor index = torch::tensor(which, torch::kInt64).to(gap.latents_NMD.device());
      return model.answer_loss(answers, gap.latents_NMD.index_select(0, index))
          .nll.to(torch::kCPU, torch::kFloat64);
    };
    const torch::Tensor own_losses = losses_with(own), other_losses = losses_with(other);
    std::int64_t begin = 0;
    for (std::size_t n = batch.begin; n < batch.end; ++n) {
      const std::int64_t count = rows[n].num_answer_tokens();
      gap.rows.push_back({count, own_losses.narrow(0, begin, count).sum().item<double>(),
                          other_losses.narrow(0, begin, count).sum().item<double>()});
      begin += count;
    }
  }
  return gap;
}

}  // namespace clara
