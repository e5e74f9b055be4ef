// A plain Hugging Face model: the base with one adapter merged into its weights.
#pragma once

#include <cstdint>
#include <filesystem>

#include "clara/config/run_config.h"
#include "clara/model/lora.h"

namespace clara {

struct MergeSettings {
  Dtype dtype = Dtype::kAuto;                     ///< of the weights; auto: each as in the base
  std::uint64_t max_shard_bytes = 5'000'000'000;  ///< a larger model is written in several files
};

/// Writes config.json, the weights W + (alpha / rank) · B A (computed in float32) and the base's
/// tokenizer files into `output`, which must be empty or not be there. Tensors that the adapter
/// does not change are copied. The tokens that CLaRa adds are not part of it. At most a shard is
/// held in memory. Throws DataError, CheckpointError, Error (disk full, …).
void export_merged_model(const std::filesystem::path& base_folder, const LoraAdapter& adapter,
                         const std::filesystem::path& output, const MergeSettings& settings = {});

/// Makes `folder` and its parents. Throws CheckpointError where it is there and not empty.
void make_export_folder(const std::filesystem::path& folder);

}  // namespace clara
