// model.init_from, then model.adapters, then what the stage itself starts anew.
#include "trainer/initial_model.h"

#include <filesystem>
#include <sstream>
#include <string>

#include <torch/torch.h>

#include "clara/checkpoint/peft_adapter.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

/// The PEFT folder that an adapter starts from; empty: none.
std::string adapter_folder(const RunConfig& config, AdapterRole role) {
  const AdapterFolders& folders = config.model.adapters;
  switch (role) {
    case AdapterRole::kCompressor:
      return folders.compressor;
    case AdapterRole::kQueryReasoner:
      return folders.query_reasoner;
    case AdapterRole::kGenerator:
      return folders.generator;
  }
  throw Error("unknown adapter role");
}

void start_from_peft_folder(AdapterRole role, const std::string& folder, ClaraModel& model,
                            TrainObserver& observer) {
  LoraAdapter& adapter = model.adapter(role);
  adapter = read_peft_adapter(folder, model.base().config(), model.device());
  std::string targets;
  for (const std::string& name : adapter.target_module_names())
    targets += (targets.empty() ? "" : ", ") + name;
  std::ostringstream alpha;
  alpha << adapter.settings().alpha;
  observer.on_message(adapter_name(role) + ": starts from " + folder + " (rank " +
                      std::to_string(adapter.settings().rank) + ", alpha " + alpha.str() + ", " +
                      targets + ")");
}

// What was trained at model.init_from has this config's shape; tells what differs beside it.
void check_fits(const RunConfig& config, const ModelDescription& from, const ClaraModel& model,
                TrainObserver& observer) {
  const auto refuse = [&](const std::string& key, const std::string& theirs,
                          const std::string& ours) {
    throw ConfigError("model.init_from: " + config.model.init_from + " was trained with " + key +
                      " " + theirs + ", this config says " + ours);
  };
  const bool reads_other_lengths = from.doc_max_tokens != config.model.doc_max_tokens ||
                                   from.compression_rate != config.model.compression_rate;
  // A compressor that is trained can learn other lengths, with as many memory tokens; a frozen one
  // reads what it learnt.
  if (reads_other_lengths && !uses_frozen_documents(config.stage) &&
      from.num_memory_tokens == config.num_memory_tokens()) {
    observer.on_message("warning: " + config.model.init_from + " was trained on documents of " +
                        std::to_string(from.doc_max_tokens) + " tokens, this config reads " +
                        std::to_string(config.model.doc_max_tokens) + " into the same " +
                        std::to_string(from.num_memory_tokens) + " memory tokens");
  } else if (from.doc_max_tokens != config.model.doc_max_tokens) {
    refuse("doc_max_tokens", std::to_string(from.doc_max_tokens),
           std::to_string(config.model.doc_max_tokens));
  } else if (reads_other_lengths) {
    refuse("compression_rate", std::to_string(from.compression_rate),
           std::to_string(config.model.compression_rate));
  }
  if (from.lora.rank != config.model.lora.rank) {
    refuse("lora.rank", std::to_string(from.lora.rank), std::to_string(config.model.lora.rank));
  }
  if (from.lora.alpha != config.model.lora.alpha) {
    refuse("lora.alpha", std::to_string(from.lora.alpha), std::to_string(config.model.lora.alpha));
  }
  const auto targets = [](const LoraAdapter& adapter) {
    std::string names;
    for (const std::string& name : adapter.target_module_names())
      names += (names.empty() ? "" : ", ") + name;
    return names;
  };
  const std::string theirs = targets(LoraAdapter(model.base().config(), from.lora, 0, torch::kCPU));
  const std::string ours = targets(model.adapter(AdapterRole::kCompressor));
  if (theirs != ours) refuse("lora.target_modules", theirs, ours);
  std::error_code no_such_folder;
  if (from.base != config.model.base &&
      !fs::equivalent(from.base, config.model.base, no_such_folder)) {
    observer.on_message("warning: model.base is " + config.model.base + " but " +
                        config.model.init_from + " was trained on " + from.base +
                        "; adapters fit no other weights than those they were trained on");
  }
  if (from.document_format != config.data.document_format) {
    observer.on_message("warning: data.document_format is " + config.data.document_format +
                        " but " + config.model.init_from + " was trained with " +
                        from.document_format);
  }
}

void initialise_from(const RunConfig& config, const Tokenizer& tokenizer, ClaraModel& model,
                     TrainObserver& observer) {
  if (is_peft_folder(config.model.init_from)) {
    for (AdapterRole role : kAdapterRoles)
      start_from_peft_folder(role, config.model.init_from, model, observer);
  } else if (!config.model.init_from.empty()) {
    const ModelDescription from = describe_model_folder(config.model.init_from);
    check_fits(config, from, model, observer);
    const bool needs_reasoner = uses_frozen_documents(config.stage) &&
                                config.objective.query_reasoner_init == "checkpoint" &&
                                config.model.adapters.query_reasoner.empty();
    if (needs_reasoner && !from.holds(AdapterRole::kQueryReasoner)) {
      throw ConfigError("objective.query_reasoner_init: checkpoint, but " + config.model.init_from +
                        " holds no query reasoner; use compressor");
    }
    load_model_folder(config.model.init_from, tokenizer, model);
  } else if (config.stage != Stage::kScp && config.objective.context == "latents" &&
             config.model.adapters.compressor.empty()) {
    observer.on_message("warning: model.init_from is not set: " + to_string(config.stage) +
                        " starts from an untrained compressor");
  }
  const auto start_from_folder = [&](AdapterRole role) {
    if (const std::string folder = adapter_folder(config, role); !folder.empty())
      start_from_peft_folder(role, folder, model, observer);
  };
  // Before the query reasoner becomes a copy of it.
  start_from_folder(AdapterRole::kCompressor);
  if (config.stage == Stage::kTune && config.objective.generator_init == "reset") {
    model.adapter(AdapterRole::kGenerator) =
        LoraAdapter(model.base().config(), lora_settings(config.model.lora),
                    derive_seed(config.trainer.seed, "generator_reset"), model.device());
  }
  if (uses_frozen_documents(config.stage)) {
    if (config.objective.query_reasoner_init == "compressor") {
      model.adapter(AdapterRole::kQueryReasoner) = model.adapter(AdapterRole::kCompressor).clone();
    } else if (config.objective.query_reasoner_init == "random") {
      model.adapter(AdapterRole::kQueryReasoner) =
          LoraAdapter(model.base().config(), lora_settings(config.model.lora),
                      derive_seed(config.trainer.seed, "query_reasoner_random"), model.device());
    }
  }
  start_from_folder(AdapterRole::kQueryReasoner);
  start_from_folder(AdapterRole::kGenerator);
}

}  // namespace

bool uses_frozen_documents(Stage stage) {
  return stage == Stage::kJoint || stage == Stage::kRetriever;
}

LoraSettings lora_settings(const LoraConfig& config) {
  return {config.rank, config.alpha, config.dropout, config.target_modules};
}

void check_initial_adapters(const RunConfig& config) {
  const std::string& from = config.model.init_from;
  if (is_peft_folder(from)) {
    (void)read_peft_settings(from);
  } else if (!from.empty()) {
    (void)describe_model_folder(from);
  }
  for (AdapterRole role : kAdapterRoles) {
    if (const std::string folder = adapter_folder(config, role); !folder.empty())
      (void)read_peft_settings(folder);
  }
}

std::unique_ptr<ClaraModel> make_model(const RunConfig& config, const Tokenizer& tokenizer,
                                       std::int64_t local_rank, TrainObserver& observer) {
  const torch::Device device = resolve_device(config.model.device, local_rank);
  auto model = std::make_unique<ClaraModel>(
      load_base_llm(config.model.base, resolve_dtype(config.model.dtype, device), device),
      lora_settings(config.model.lora), config.num_memory_tokens(), config.model.memory_init,
      config.trainer.seed);
  initialise_from(config, tokenizer, *model, observer);
  return model;
}

}  // namespace clara
