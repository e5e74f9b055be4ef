// The three passes: compress, encode the question, answer.
#include "clara/model/clara_model.h"

#include "common/device_copy.h"
#include <ATen/record_function.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {

std::string adapter_name(AdapterRole role) {
  switch (role) {
    case AdapterRole::kCompressor:
      return "compressor";
    case AdapterRole::kQueryReasoner:
      return "query_reasoner";
    case AdapterRole::kGenerator:
      return "generator";
  }
  throw Error("unknown adapter role");
}

ClaraModel::ClaraModel(BaseLlm base, const LoraSettings& lora, std::int64_t num_memory,
                       const std::string& memory_init, std::uint64_t seed)
    : base_(std::move(base)) {
  for (AdapterRole role : kAdapterRoles) {
    adapter(role) =
        LoraAdapter(base_.config(), lora, derive_seed(seed, adapter_name(role)), base_.device());
  }
  memory_ = init_memory_tokens(base_, num_memory, memory_init, seed);
}

PackedSequences ClaraModel::pack(
    const std::vector<const std::vector<std::int32_t>*>& sequences) const {
  return pack_sequences(sequences, {base_.config().vocab_rows, num_memory()}, device());
}

AnswerBatch ClaraModel::pack_answers(const std::vector<const std::vector<std::int32_t>*>& sequences,
                                     const std::vector<std::int32_t>& prompt_lengths) const {
  std::vector<std::int64_t> places, targets;
  std::int64_t begin = 0;
  for (std::size_t n = 0; n < sequences.size(); ++n) {
    const auto& tokens = *sequences[n];
    for (std::size_t t = static_cast<std::size_t>(prompt_lengths[n]); t < tokens.size(); ++t) {
      places.push_back(begin + static_cast<std::int64_t>(t) - 1);
      targets.push_back(tokens[t]);
    }
    begin += static_cast<std::int64_t>(tokens.size());
  }
  return {pack(sequences), to_device(places, device()), to_device(targets, device())};
}

torch::Tensor ClaraModel::embed(const PackedSequences& sequences,
                                const torch::Tensor& latents) const {
  const torch::Dtype dtype = base_.dtype();
  const torch::Tensor words = base_.weights().embedding.index_select(0, sequences.ids);
  const torch::Tensor rows =
      memory_.embedding_rows().to(dtype).index_select(0, sequences.added_rows);
  torch::Tensor embeddings = words.index_copy(0, sequences.added_places, rows);
  if (latents.defined()) {
    const torch::Tensor flat = latents.reshape({-1, words.size(1)}).to(dtype);
    if (flat.size(0) != sequences.memory_places.size(0)) {
      throw Error("expected " + std::to_string(sequences.memory_places.size(0)) +
                  " latents for the memory places, found " + std::to_string(flat.size(0)));
    }
    embeddings = embeddings.index_copy(0, sequences.memory_places, flat);
  }
  return embeddings;
}

CompressedDocuments ClaraModel::compress(const PackedSequences& documents,
                                         const PassSettings& pass) const {
  RECORD_USER_SCOPE("clara::compress");
  const torch::Tensor hidden =
      base_.forward(embed(documents), documents.layout, &adapter(AdapterRole::kCompressor), pass);
  const std::int64_t num = documents.layout->num_sequences(), width = hidden.size(1);
  const torch::Tensor memory =
      hidden.index_select(0, documents.memory_places).view({num, num_memory(), width});
  // Sum over all tokens minus sum over the memory tokens is the sum over the text.
  const torch::Tensor memory_sum = memory.to(torch::kFloat32).sum(1);
  const torch::Tensor all_sum =
      torch::zeros({num, width}, hidden.options().dtype(torch::kFloat32))
          .index_add(0, documents.layout->sequence_of_token(), hidden.to(torch::kFloat32));
  std::vector<float> text_lengths;
  for (std::int64_t n = 0; n < num; ++n)
    text_lengths.push_back(static_cast<float>(documents.layout->length(n) - num_memory()));
  const torch::Tensor text_mean =
      (all_sum - memory_sum) / to_device(torch::tensor(text_lengths), hidden.device()).unsqueeze(1);
  return {memory, text_mean,
          (text_mean - memory_sum / static_cast<double>(num_memory())).square().mean(1)};
}

torch::Tensor ClaraModel::encode(AdapterRole role, const PackedSequences& documents,
                                 const PassSettings& pass, std::int64_t num_fillers) const {
  const torch::Tensor hidden =
      base_.forward(embed(documents), documents.layout, &adapter(role), pass);
  return hidden.index_select(0, documents.memory_places)
      .view({documents.layout->num_sequences() - num_fillers, num_memory(), hidden.size(1)});
}

torch::Tensor ClaraModel::encode_questions(const PackedSequences& questions,
                                           const PassSettings& pass) const {
  RECORD_USER_SCOPE("clara::query");
  return encode(AdapterRole::kQueryReasoner, questions, pass).flatten(1);
}

torch::Tensor ClaraModel::answer_states(const AnswerBatch& batch, const torch::Tensor& latents,
                                        const PassSettings& pass) const {
  RECORD_USER_SCOPE("clara::generate");
  const torch::Tensor hidden = base_.forward(embed(batch.tokens, latents), batch.tokens.layout,
                                             &adapter(AdapterRole::kGenerator), pass);
  return hidden.index_select(0, batch.predict_places);
}

CrossEntropyResult ClaraModel::answer_loss(const AnswerBatch& batch, const torch::Tensor& latents,
                                           const PassSettings& pass) const {
  const torch::Tensor states = answer_states(batch, latents, pass);
  RECORD_USER_SCOPE("clara::loss");
  return chunked_cross_entropy(states, base_.weights().head, memory_.output_rows(), batch.targets);
}

}  // namespace clara
