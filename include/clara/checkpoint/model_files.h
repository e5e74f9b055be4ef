// A CLaRa model on disk: adapters in PEFT's layout, the added rows, clara.json (interface.md "Run
// folder").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/model/clara_model.h"

namespace clara {

/// clara.json: what a folder of adapters was trained for, so that it can be opened without its
/// config.
struct ModelDescription {
  std::int32_t format_version = 1;
  std::string base;       ///< Hugging Face folder, as the config gave it
  std::string stage;      ///< "scp", "tune", "joint", "retriever"
  std::int64_t step = 0;  ///< finished optimizer steps
  std::int32_t doc_max_tokens = 256;
  std::int32_t compression_rate = 16;
  std::int32_t num_memory_tokens = 16;
  std::int32_t num_selected = 5;
  std::string document_format = "title_newline";
  std::string chat_format;          ///< ChatFormat::description
  std::string context = "latents";  ///< what the generator reads: latents, text, none
  LoraSettings lora;
  /// Adapters that the folder holds, by name; official folders and checkpoints hold all.
  std::vector<std::string> adapters = {"compressor", "query_reasoner", "generator"};
  std::string library_version;

  bool holds(AdapterRole role) const;
};

/// A safetensors file before it is written.
struct TensorFileContent {
  std::map<std::string, torch::Tensor> tensors;
  std::map<std::string, std::string> metadata;
};

/// What save_model_files writes, by path in its folder.
struct ModelFiles {
  std::map<std::string, TensorFileContent> tensors;
  std::map<std::string, std::string> texts;
};

/// The files of those adapters of `model` that the description names, and of its added rows; their
/// tensors are the model's own, not copies.
ModelFiles describe_model_files(const ClaraModel& model, const ModelDescription& description);

/// Writes them into `folder`, which must exist. Throws Error with path and reason.
void write_model_files(const std::filesystem::path& folder, const ModelFiles& files);

/// Writes adapters/<name>/{adapter_config.json, adapter_model.safetensors},
/// memory_tokens.safetensors and clara.json into `folder`, which must exist. Throws
/// Error with path and reason.
void save_model_files(const std::filesystem::path& folder, const ClaraModel& model,
                      const ModelDescription& description);

/// Reads clara.json. Throws CheckpointError: not a CLaRa folder, a newer format version, a missing
/// key.
ModelDescription read_model_description(const std::filesystem::path& folder);

/// The same files with every tensor in `dtype`, for a smaller folder that opens alike: of bfloat16
/// the values are rounded to 8 bits of mantissa.
ModelFiles convert_model_files(ModelFiles files, torch::Dtype dtype);

/// Whose rank and target modules an adapter keeps that is read into a model.
enum class AdapterShapes {
  kOfModel,   ///< every tensor must fit the model's adapter, which is filled in place
  kOfFolder,  ///< the model's adapter is replaced: before anything refers to its tensors
};

/// Fills the model's adapters and added rows from `folder`; adapters that it does not hold stay as
/// they are. Every tensor of the files must have its
/// place in the model and every place its tensor; shapes must agree, those of adapters as `shapes`
/// says. Throws CheckpointError that names the file, the tensor, both shapes.
void load_model_files(const std::filesystem::path& folder, ClaraModel& model,
                      AdapterShapes shapes = AdapterShapes::kOfModel);

}  // namespace clara
