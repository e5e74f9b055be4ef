// Checkpoints in the layout of apple/ml-clara: config.json, adapters.pth (a dict from adapter to
// its LoRA matrices), decoder_first_last_layers.pth (embedding and head with the added rows).
#pragma once

#include <filesystem>

#include "clara/checkpoint/model_files.h"
#include "clara/model/clara_model.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Whether `folder` holds an adapters.pth.
bool is_official_checkpoint(const std::filesystem::path& folder);

/// What config.json says, in this project's terms: M = doc_max_length / compr_rate, rounded down;
/// rank lora_r, alpha 2 · lora_r, all linear layers; document_format ml_clara; the stage by
/// training_stage. Throws CheckpointError that names the key: it is missing or of another type, or
/// its value computes something that is not supported (a quantised base, lora: false, a separate
/// compressor's <KBTC> token, sep: false with several documents in the prompt).
ModelDescription read_official_description(const std::filesystem::path& folder);

/// Fills the model's adapters and added rows. encoder_adapter is the compressor, decoder_adapter
/// the generator; without query_reasoner_adapter that one starts as a copy of the compressor. An
/// adapter may carry model.embed_tokens.weight and lm_head.weight beside its matrices; they must
/// equal those of decoder_first_last_layers.pth, and stand in for it where it is not there. Added
/// tokens are found by name: those that `tokenizer` (of the base) does not have follow at its
/// length. With different_mem_tokens: false all positions share the row of <MEM>. The rows of the
/// base vocabulary must equal the model's. Throws CheckpointError, DataError that name file and
/// tensor: missing, without a place, of another shape.
void load_official_checkpoint(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                              ClaraModel& model);

/// One adapter alone, float32 on `device`.
LoraAdapter read_official_adapter(const std::filesystem::path& folder, AdapterRole role,
                                  const BaseConfig& base, torch::Device device);

/// Writes config.json, adapters.pth and decoder_first_last_layers.pth into `folder`, all tensors
/// float32. That layout knows one rank for the three adapters, on all linear layers, with alpha =
/// 2 · rank: other ranks and targets are a CheckpointError, another alpha is multiplied into B.
void save_official_checkpoint(const std::filesystem::path& folder, const ClaraModel& model,
                              const ModelDescription& description, const Tokenizer& tokenizer);

}  // namespace clara
