// CLaRa: one frozen LLM, three adapters, documents as latents (paper, section 3; numerics §1, §3,
// §4).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/model/answer_loss.h"
#include "clara/model/base_llm.h"
#include "clara/model/lora.h"
#include "clara/model/memory_tokens.h"
#include "clara/model/packed_sequences.h"

namespace clara {

// Shapes: N documents or questions, T tokens, M memory tokens, D width, V base vocabulary rows, A
// answer tokens.

enum class AdapterRole : std::size_t { kCompressor, kQueryReasoner, kGenerator };
inline constexpr std::array<AdapterRole, 3> kAdapterRoles = {
    AdapterRole::kCompressor, AdapterRole::kQueryReasoner, AdapterRole::kGenerator};
/// "compressor", "query_reasoner", "generator".
std::string adapter_name(AdapterRole role);

/// Latents of N documents.
struct CompressedDocuments {
  torch::Tensor latents_NMD;    ///< dtype of the base
  torch::Tensor text_means_ND;  ///< float32: mean state of the text, its marks included
  torch::Tensor alignment_N;    ///< float32: mean over D of (text mean − mean memory state)²
};

/// Generator input: prompt, answer, end of turn of B rows.
struct AnswerBatch {
  PackedSequences tokens;
  torch::Tensor predict_places;  ///< [A] int64: packed positions that predict an answer token
  torch::Tensor targets;         ///< [A] int64: the token each of them predicts, over V + M + 3
};

class ClaraModel {
 public:
  /// Fresh adapters and memory rows from `seed`.
  ClaraModel(BaseLlm base, const LoraSettings& lora, std::int64_t num_memory,
             const std::string& memory_init, std::uint64_t seed);

  const BaseLlm& base() const { return base_; }
  std::int64_t num_memory() const { return memory_.num_memory(); }
  MemoryTokens& memory() { return memory_; }
  const MemoryTokens& memory() const { return memory_; }
  LoraAdapter& adapter(AdapterRole role) { return adapters_[static_cast<std::size_t>(role)]; }
  const LoraAdapter& adapter(AdapterRole role) const {
    return adapters_[static_cast<std::size_t>(role)];
  }
  torch::Device device() const { return base_.device(); }

  /// Packs token sequences for this model's device and vocabulary.
  PackedSequences pack(const std::vector<const std::vector<std::int32_t>*>& sequences) const;
  /// Packs generator sequences; tokens from prompt_lengths[n] on are predicted.
  AnswerBatch pack_answers(const std::vector<const std::vector<std::int32_t>*>& sequences,
                           const std::vector<std::int32_t>& prompt_lengths) const;

  /// Embeddings [T, D] in the base's dtype. `latents` [·, D] stand at the memory places in order;
  /// undefined: the memory rows.
  torch::Tensor embed(const PackedSequences& sequences, const torch::Tensor& latents = {}) const;

  /// Documents (each ends with its M memory tokens) → latents and alignment losses.
  CompressedDocuments compress(const PackedSequences& documents,
                               const PassSettings& pass = {}) const;
  /// The latents alone, by any adapter: [N, M, D]. `num_fillers` sequences more have no memory
  /// tokens and no latents: they fill up rows.
  torch::Tensor encode(AdapterRole role, const PackedSequences& documents,
                       const PassSettings& pass = {}, std::int64_t num_fillers = 0) const;
  /// Questions → vectors [N, M·D].
  torch::Tensor encode_questions(const PackedSequences& questions,
                                 const PassSettings& pass = {}) const;

  /// Generator states [A, D] that predict the answers, given latents [documents·M, D] (or
  /// [documents, M, D]) in prompt order.
  torch::Tensor answer_states(const AnswerBatch& batch, const torch::Tensor& latents,
                              const PassSettings& pass = {}) const;
  /// Their cross-entropy.
  CrossEntropyResult answer_loss(const AnswerBatch& batch, const torch::Tensor& latents,
                                 const PassSettings& pass = {}) const;

 private:
  BaseLlm base_;
  std::array<LoraAdapter, 3> adapters_;
  MemoryTokens memory_;
};

}  // namespace clara
