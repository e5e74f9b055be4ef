// Everything a program needs to run a model: base, adapters, tokenizer, chat format.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/checkpoint/model_files.h"
#include "clara/config/run_config.h"
#include "clara/model/clara_model.h"
#include "clara/tokenizer/chat_format.h"
#include "clara/tokenizer/special_tokens.h"
#include "clara/tokenizer/tokenizer.h"

namespace clara {

/// Tokenizer side of a model; cheap to open, no weights.
struct TextSide {
  std::unique_ptr<Tokenizer> tokenizer;
  ChatFormat chat_format;
  SpecialTokens special_tokens;
  TokenId bos_id = -1;  ///< of compressor inputs; -1: none
  TokenId eos_id = -1;
  std::vector<TokenId> end_ids;  ///< generation stops at any of them
};

struct OpenedModel {
  TextSide text;
  std::unique_ptr<ClaraModel> model;
  ModelDescription description;
};

/// Tokenizer, chat format and token numbers of a base folder.
TextSide open_text_side(const std::filesystem::path& base_folder, std::int32_t num_memory,
                        const std::string& chat_format = "");

/// What a checkpoint, a final/ folder (clara.json) or an official folder (config.json beside
/// adapters.pth) was trained for. Throws CheckpointError where `folder` is none of them.
ModelDescription describe_model_folder(const std::filesystem::path& folder);

/// Reads adapters and added rows of such a folder into `model`, whose adapters take the folder's
/// rank and target modules. `tokenizer` is that of the base model.
void load_model_folder(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                       ClaraModel& model);

/// One adapter of such a folder, or that of a PEFT folder, which holds only one.
LoraAdapter read_adapter(const std::filesystem::path& folder, AdapterRole role,
                         const BaseConfig& base, torch::Device device);

/// The base folder that a description names, or `base_override` in its place (a relative path is
/// tried as it is, then relative to `folder`). Throws CheckpointError where it is not there.
std::filesystem::path find_base_folder(const ModelDescription& description,
                                       const std::filesystem::path& folder,
                                       const std::string& base_override);

/// A checkpoint, final/ or official folder for inference. `base_override` replaces the base folder
/// that clara.json names (relative paths are tried as they are, then relative to `folder`). Nothing
/// requires grad.
OpenedModel open_checkpoint(const std::filesystem::path& folder,
                            const std::string& base_override = "", Dtype dtype = Dtype::kAuto,
                            Device device = Device::kAuto);

/// The same on a device that is known, as one of several ranks of a node knows its own.
OpenedModel open_checkpoint_on(const std::filesystem::path& folder,
                               const std::string& base_override, Dtype dtype, torch::Device device);

/// The device and compute type that "auto" means on this machine: CUDA where it was compiled in and
/// is there; bfloat16 where the device multiplies it faster (CPU: AMX, or avx512_bf16
/// of another maker than Intel). A device that was not compiled in or is not there is a
/// ConfigError. `index`: of the CUDA device, where one of several ranks of a node asks.
torch::Device resolve_device(Device device, std::int64_t index = 0);
torch::Dtype resolve_dtype(Dtype dtype, torch::Device device);

}  // namespace clara
