// Opening what a program needs, with the checks that belong together.
#include "clara/checkpoint/open_model.h"

#include <ATen/Context.h>
#include <ATen/cpu/Utils.h>
#include <torch/torch.h>

#include "clara/checkpoint/official_checkpoint.h"
#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/error.h"

namespace clara {
namespace {

/// Whether products of bfloat16 are faster than those of float32. Of Intel's processors those with
/// AMX: with avx512_bf16 alone training took 1.8 times as long as in float32 (Emerald Rapids, AMX
/// hidden).
bool cpu_has_fast_bfloat16() {
#if defined(__x86_64__)
  if (at::cpu::init_amx()) return true;
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512bf16") != 0 && __builtin_cpu_is("intel") == 0;
#else
  return false;
#endif
}

}  // namespace

TextSide open_text_side(const std::filesystem::path& base_folder, std::int32_t num_memory,
                        const std::string& chat_format) {
  const BaseConfig config = load_base_config(base_folder);
  TextSide text;
  text.tokenizer = load_tokenizer(base_folder);
  text.chat_format = load_chat_format(base_folder, *text.tokenizer, chat_format);
  text.special_tokens = {static_cast<TokenId>(config.vocab_rows), num_memory};
  if (text.tokenizer->size() > config.vocab_rows) {
    throw DataError(base_folder.string() + ": the tokenizer has " +
                    std::to_string(text.tokenizer->size()) + " tokens but the embedding only " +
                    std::to_string(config.vocab_rows) + " rows (config.json: vocab_size)");
  }
  text.bos_id = text.tokenizer->bos_id().value_or(-1);
  if (text.bos_id < 0 && config.model_type.starts_with("qwen")) {
    text.bos_id = text.tokenizer->token_to_id("<|im_start|>").value_or(-1);
  }
  text.eos_id = text.tokenizer->eos_id().value_or(-1);
  text.end_ids.assign(config.end_ids.begin(), config.end_ids.end());
  if (!text.chat_format.end_of_turn.empty()) {
    if (const auto id = text.tokenizer->token_to_id(text.chat_format.end_of_turn))
      text.end_ids.push_back(*id);
  }
  return text;
}

ModelDescription describe_model_folder(const std::filesystem::path& folder) {
  if (is_official_checkpoint(folder)) return read_official_description(folder);
  if (is_peft_folder(folder) && !std::filesystem::exists(folder / "clara.json")) {
    throw CheckpointError(folder.string() +
                          ": is a PEFT adapter alone, without memory tokens; name it in the "
                          "model.adapters or model.init_from of a training config");
  }
  return read_model_description(folder);
}

void load_model_folder(const std::filesystem::path& folder, const Tokenizer& tokenizer,
                       ClaraModel& model) {
  if (is_official_checkpoint(folder)) {
    load_official_checkpoint(folder, tokenizer, model);
  } else {
    load_model_files(folder, model, AdapterShapes::kOfFolder);
  }
}

LoraAdapter read_adapter(const std::filesystem::path& folder, AdapterRole role,
                         const BaseConfig& base, torch::Device device) {
  if (is_peft_folder(folder)) return read_peft_adapter(folder, base, device);
  if (is_official_checkpoint(folder)) return read_official_adapter(folder, role, base, device);
  return read_peft_adapter(folder / "adapters" / adapter_name(role), base, device);
}

std::filesystem::path find_base_folder(const ModelDescription& description,
                                       const std::filesystem::path& folder,
                                       const std::string& base_override) {
  const std::string& base = base_override.empty() ? description.base : base_override;
  if (std::filesystem::is_directory(base)) return base;
  std::filesystem::path beside = folder / base;
  if (!base.empty() && std::filesystem::is_directory(beside)) return beside;
  throw CheckpointError(folder.string() + ": its base model " + base +
                        " was not found; give the folder with --base");
}

OpenedModel open_checkpoint(const std::filesystem::path& folder, const std::string& base_override,
                            Dtype dtype, Device device) {
  return open_checkpoint_on(folder, base_override, dtype, resolve_device(device));
}

OpenedModel open_checkpoint_on(const std::filesystem::path& folder,
                               const std::string& base_override, Dtype dtype,
                               torch::Device device) {
  OpenedModel opened;
  opened.description = describe_model_folder(folder);
  const std::filesystem::path base = find_base_folder(opened.description, folder, base_override);
  opened.text =
      open_text_side(base, opened.description.num_memory_tokens, opened.description.chat_format);
  opened.model = std::make_unique<ClaraModel>(
      load_base_llm(base, resolve_dtype(dtype, device), device), opened.description.lora,
      opened.description.num_memory_tokens, "noise", 0);
  load_model_folder(folder, *opened.text.tokenizer, *opened.model);
  return opened;
}

torch::Device resolve_device(Device device, std::int64_t index) {
#ifdef CLARA_WITH_CUDA
  const bool compiled = true;
#else
  const bool compiled = false;
#endif
  if (device == Device::kCpu) return torch::kCPU;
  const auto num_devices =
      compiled && at::globalContext().hasCUDA() ? torch::cuda::device_count() : 0;
  const bool present = num_devices > 0;
  const torch::Device cuda(torch::kCUDA, static_cast<c10::DeviceIndex>(index));
  if (present && index >= static_cast<std::int64_t>(num_devices)) {
    throw ConfigError("model.device: expected a CUDA device for each rank of a node, found " +
                      std::to_string(num_devices) + " of them for local rank " +
                      std::to_string(index) + "; start fewer ranks a node, or use cpu");
  }
  if (device == Device::kAuto) return present ? cuda : torch::Device(torch::kCPU);
  if (!compiled) {
    throw ConfigError(
        "model.device: cuda was not compiled in (configure with -DCLARA_WITH_CUDA=ON, preset "
        "cuda), or use cpu");
  }
  if (!present)
    throw ConfigError(
        "model.device: no CUDA device is visible; check the driver and CUDA_VISIBLE_DEVICES, or "
        "use cpu");
  return cuda;
}

torch::Dtype resolve_dtype(Dtype dtype, torch::Device device) {
  switch (dtype) {
    case Dtype::kFloat32:
      return torch::kFloat32;
    case Dtype::kBfloat16:
      return torch::kBFloat16;
    case Dtype::kAuto:
      break;
  }
  return device.is_cuda() || cpu_has_fast_bfloat16() ? torch::kBFloat16 : torch::kFloat32;
}

}  // namespace clara
