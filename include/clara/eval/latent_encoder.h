// CLaRa's own encoder of an index over a corpus: passages by the compressor, questions by the query
// reasoner (paper, section 3; numerics §6).
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/checkpoint/open_model.h"
#include "clara/config/run_config.h"
#include "clara/data/prompts.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara {

struct LatentEncoderSettings {
  /// A run (its final/), a checkpoint, a final/ folder or an official one.
  std::filesystem::path checkpoint;
  std::string base;  ///< in place of the checkpoint's own
  Dtype dtype = Dtype::kAuto;
  Device device = Device::kAuto;
  std::int64_t first_device = 0;         ///< number of the CUDA device
  std::int64_t num_devices = 1;          ///< CUDA devices, from the first, that share the passages
  std::int64_t max_batch_tokens = 8192;  ///< tokens that are computed together
};

/// A passage's vector is its latents [M, D], a question's the states [M, D] of its memory tokens,
/// both flattened and of length 1 in float32: their inner product is the score that selects
/// documents in training and evaluation. Both are cut as there. The checkpoint's query reasoner
/// reads the questions; before joint training there is none, and the compressor does, which it
/// starts as.
class LatentEncoder final : public VectorEncoder {
 public:
  /// Opens the checkpoint on each device. Throws ConfigError for settings, CheckpointError and
  /// DataError as open_checkpoint.
  explicit LatentEncoder(const LatentEncoderSettings& settings);
  /// With models that are open: one checkpoint, once for each device. `base`: the folder that their
  /// tokenizer came from.
  LatentEncoder(std::vector<OpenedModel> models, const std::filesystem::path& base,
                const LatentEncoderSettings& settings);

  /// M · D.
  std::int64_t dimension() const override;
  /// Of the compressor, its memory rows, base, tokenizer and cut, and the type it computes in: an
  /// index serves every checkpoint of the joint training that its compressor was frozen in.
  const Hash128& fingerprint() const override { return fingerprint_; }
  EncoderDescription describe() const override;
  torch::Tensor encode_passages(
      const std::vector<std::string>& passages,
      const std::function<void(std::int64_t)>& on_progress = nullptr) const override;
  torch::Tensor encode_queries(const std::vector<std::string>& queries) const override;
  /// Longer than doc_max_tokens.
  std::int64_t num_cut_passages() const override { return num_cut_passages_; }

  const ModelDescription& description() const { return models_.front().description; }
  /// Whether questions are read by a query reasoner that was trained.
  bool has_query_reasoner() const;

 private:
  /// Of texts, and how many of them were cut.
  std::vector<TokenIds> encoder_ids(const std::vector<std::string>& texts,
                                    std::atomic<std::int64_t>& num_cut) const;

  std::vector<OpenedModel> models_;
  std::filesystem::path base_;
  LatentEncoderSettings settings_;
  PromptBuilder prompts_;
  Hash128 fingerprint_;
  mutable std::atomic<std::int64_t> num_cut_passages_{0};
};

/// `folder`, or final/ in it where that is a run's.
std::filesystem::path model_folder_of(const std::filesystem::path& folder);

/// The encoder for searching the index of the kind latent in `index_folder`. An empty checkpoint is
/// the one that it was built with, where that is still there; Dtype::kAuto is what its vectors were
/// computed in. Throws ConfigError for another type, DataError where the checkpoint is gone;
/// whether it is the right one DensePassageSearch says.
std::unique_ptr<const LatentEncoder> open_latent_encoder(const std::filesystem::path& index_folder,
                                                         LatentEncoderSettings settings = {});

}  // namespace clara
