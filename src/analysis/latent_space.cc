// One compressor pass a batch gives both vectors of a document.
#include "clara/analysis/latent_space.h"

#include "common/token_batches.h"
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/eval/opened_prompts.h"

namespace clara {
namespace {

torch::Tensor unit_rows(const torch::Tensor& rows_ND) {
  return torch::nn::functional::normalize(rows_ND,
                                          torch::nn::functional::NormalizeFuncOptions().dim(1));
}

}  // namespace

LatentSpace measure_latent_space(const OpenedModel& opened,
                                 const std::vector<std::string>& documents,
                                 std::int64_t max_batch_tokens) {
  if (documents.size() < 2) {
    throw DataError("latent space: expected at least 2 documents, found " +
                    std::to_string(documents.size()));
  }
  const torch::NoGradGuard no_grad;
  const PromptBuilder prompts = make_prompt_builder(opened, 1, 0);
  std::vector<TokenIds> inputs;
  for (const std::string& document : documents) {
    if (document.empty()) throw DataError("latent space: expected documents, found an empty one");
    inputs.push_back(prompts.encoder_ids(document));
  }
  std::vector<torch::Tensor> latents, text_means, alignment;
  std::vector<std::int64_t> num_tokens;
  for (const TokenIds& input : inputs)
    num_tokens.push_back(static_cast<std::int64_t>(input.size()));
  for (const ItemRange& range : token_batches(num_tokens, max_batch_tokens)) {
    std::vector<const TokenIds*> batch;
    for (std::size_t n = range.begin; n < range.end; ++n) batch.push_back(&inputs[n]);
    const CompressedDocuments compressed = opened.model->compress(opened.model->pack(batch));
    latents.push_back(compressed.latents_NMD.to(torch::kCPU, torch::kFloat32));
    text_means.push_back(compressed.text_means_ND.to(torch::kCPU));
    alignment.push_back(compressed.alignment_N.to(torch::kCPU));
  }
  const torch::Tensor latents_NMD = torch::cat(latents);
  LatentSpace space;
  space.latent_means_ND = latents_NMD.mean(1);
  space.text_means_ND = torch::cat(text_means);
  space.alignment = torch::cat(alignment).mean().item<double>();
  space.spread = latent_spread(latents_NMD);
  const torch::Tensor cosines =
      torch::mm(unit_rows(space.latent_means_ND), unit_rows(space.text_means_ND).t());
  const auto num = static_cast<double>(documents.size());
  const double own = cosines.diagonal().sum().item<double>();
  space.cosine_own_text = own / num;
  space.cosine_other_text = (cosines.sum().item<double>() - own) / (num * (num - 1));
  space.nearest_is_own = cosines.argmax(1)
                             .eq(torch::arange(cosines.size(0)))
                             .to(torch::kFloat64)
                             .mean()
                             .item<double>();
  return space;
}

void save_latent_space(const std::filesystem::path& path, const LatentSpace& space) {
  save_tensors(path, {{"latents", space.latent_means_ND}, {"texts", space.text_means_ND}});
}

}  // namespace clara
