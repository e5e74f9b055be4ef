// From config to trained model, in the order in which mistakes are cheapest to find.
#include "clara/trainer/training_job.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "trainer/input_fingerprint.h"
#include "trainer/resume_check.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>
#include <unistd.h>

#include "clara/checkpoint/open_model.h"
#include "clara/checkpoint/peft_adapter.h"
#include "clara/checkpoint/tokenizer_export.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/folder_lock.h"
#include "clara/common/seeds.h"
#include "clara/common/version.h"
#include "clara/common/weights_digest.h"
#include "clara/config/load_config.h"
#include "clara/latents/document_latents.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/objectives/retriever_objective.h"
#include "clara/trainer/sequence_limits.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

bool uses_frozen_documents(Stage stage) {
  return stage == Stage::kJoint || stage == Stage::kRetriever;
}

LoraSettings lora_settings(const LoraConfig& config) {
  return {config.rank, config.alpha, config.dropout, config.target_modules};
}

bool holds_run(const fs::path& folder) {
  return !list_checkpoints(folder / "checkpoints").empty() || fs::exists(folder / "final") ||
         fs::exists(folder / "metrics.jsonl");
}

/// The checkpoint to go on from; empty for a new run. Refuses to touch a folder that holds another
/// run.
std::optional<fs::path> choose_checkpoint(const RunConfig& config, const std::string& option,
                                          TrainObserver& observer) {
  const fs::path folder = config.output.folder;
  if (option != "auto" && option != "never") {
    fs::path resume = option;
    if (!resume.has_filename()) resume = resume.parent_path();  // "step_000010/"
    if (const auto damage = find_checkpoint_damage(resume)) {
      throw CheckpointError(option + ": cannot be resumed: " + *damage +
                            "; use an earlier checkpoint, or --resume auto");
    }
    std::error_code error;
    if (holds_run(folder) && !fs::equivalent(resume.parent_path(), folder / "checkpoints", error)) {
      throw ConfigError(folder.string() + ": already holds a run, and another than " + option +
                        "; resume that run in its own folder, or choose another --output");
    }
    return resume;
  }
  const std::vector<fs::path> checkpoints = list_checkpoints(folder / "checkpoints");
  if (option == "never") {
    if (holds_run(folder)) {
      throw ConfigError(
          folder.string() +
          ": already holds a run; go on with --resume auto, or choose another --output");
    }
    return std::nullopt;
  }
  for (const fs::path& checkpoint : checkpoints) {
    const auto damage = find_checkpoint_damage(checkpoint);
    if (!damage) return checkpoint;
    observer.on_message("warning: " + checkpoint.string() + " is damaged (" + *damage +
                        "); trying the one before");
  }
  if (!checkpoints.empty()) {
    throw CheckpointError(folder.string() +
                          ": every checkpoint of this run is damaged; nothing was changed. " +
                          "Restore one of them, or start anew in another --output");
  }
  return std::nullopt;
}

/// 0 leaves LibTorch's own choice: OMP_NUM_THREADS, else all processors.
void set_threads(std::int32_t num_threads) {
  if (num_threads > 0) at::set_num_threads(num_threads);
}

/// Text side, rows and prompts: all that can be checked without weights.
struct JobInputs {
  TextSide text;
  std::unique_ptr<PromptBuilder> prompts;
  std::unique_ptr<RecordTrainingData> data;
  std::vector<Example> validation;
  std::vector<std::string> skipped_validation;
  std::map<std::string, std::string> fingerprints;  ///< of the files
};

/// A pass of validation reads each row once; a weight there would silently be without effect.
void check_validation_weights(const std::vector<DataSource>& sources) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].weight == 1) continue;
    throw ConfigError("data.validation." + std::to_string(i) +
                      ".weight: validation reads each row once and has no use for a weight; leave "
                      "it out (max_rows takes the first rows of a file)");
  }
}

/// `look_only`: bad rows are for the caller to find and count, instead of ending it here.
JobInputs open_inputs(const RunConfig& config, bool look_only = false) {
  check_validation_weights(config.data.validation);
  const BaseConfig base = load_base_config(config.model.base);
  check_sequence_limits(config, base);
  check_base_tensors(config.model.base, base);
  JobInputs inputs;
  inputs.text =
      open_text_side(config.model.base, config.num_memory_tokens(), config.model.chat_format);
  inputs.prompts = std::make_unique<PromptBuilder>(
      *inputs.text.tokenizer, inputs.text.chat_format, inputs.text.special_tokens,
      inputs.text.bos_id, inputs.text.eos_id,
      PromptSettings{config.model.doc_max_tokens, config.trainer.max_sequence_tokens,
                     config.objective.num_selected, config.trainer.seed});
  const ExampleBuilder builder(config.stage, *inputs.prompts);
  const bool skip = config.data.on_bad_record == "skip";
  inputs.data = std::make_unique<RecordTrainingData>(
      RowSource(config.data.train, config.data.max_rows), builder, config.data.shuffle_seed, skip);
  std::optional<RowSource> validation;
  if (!config.data.validation.empty()) {
    // Spread over all files, where there are more rows than are used.
    validation.emplace(config.data.validation);
    const std::int64_t limit = config.trainer.max_validation_rows;
    const std::int64_t used = limit > 0 ? std::min(limit, validation->size()) : validation->size();
    for (std::int64_t k = 0; k < used; ++k) {
      const std::int64_t i = k * validation->size() / used;
      try {
        inputs.validation.push_back(
            builder.build(validation->row(i), 0, static_cast<std::uint64_t>(i)));
      } catch (const DataError& error) {
        if (!skip && !look_only) throw;
        inputs.skipped_validation.emplace_back(error.what());
      }
    }
  }
  inputs.fingerprints =
      fingerprint_inputs(config, inputs.data->source(), validation ? &*validation : nullptr);
  // The first row tells of a wrong kind of file before any weight is read.
  if (!look_only) (void)inputs.data->row(0, 0);
  return inputs;
}

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

/// What the adapters start from can be opened: told before any weight is read.
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

void initialise_from(const RunConfig& config, const Tokenizer& tokenizer, ClaraModel& model,
                     TrainObserver& observer) {
  if (is_peft_folder(config.model.init_from)) {
    for (AdapterRole role : kAdapterRoles)
      start_from_peft_folder(role, config.model.init_from, model, observer);
  } else if (!config.model.init_from.empty()) {
    const ModelDescription from = describe_model_folder(config.model.init_from);
    const auto refuse = [&](const std::string& key, const std::string& theirs,
                            const std::string& ours) {
      throw ConfigError("model.init_from: " + config.model.init_from + " was trained with " + key +
                        " " + theirs + ", this config says " + ours);
    };
    if (from.doc_max_tokens != config.model.doc_max_tokens) {
      refuse("doc_max_tokens", std::to_string(from.doc_max_tokens),
             std::to_string(config.model.doc_max_tokens));
    }
    if (from.compression_rate != config.model.compression_rate) {
      refuse("compression_rate", std::to_string(from.compression_rate),
             std::to_string(config.model.compression_rate));
    }
    if (from.lora.rank != config.model.lora.rank) {
      refuse("lora.rank", std::to_string(from.lora.rank), std::to_string(config.model.lora.rank));
    }
    if (from.lora.alpha != config.model.lora.alpha) {
      refuse("lora.alpha", std::to_string(from.lora.alpha),
             std::to_string(config.model.lora.alpha));
    }
    const auto targets = [](const LoraAdapter& adapter) {
      std::string names;
      for (const std::string& name : adapter.target_module_names())
        names += (names.empty() ? "" : ", ") + name;
      return names;
    };
    const std::string theirs =
        targets(LoraAdapter(model.base().config(), from.lora, 0, torch::kCPU));
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
    load_model_folder(config.model.init_from, tokenizer, model);
  } else if (config.stage != Stage::kScp && config.model.adapters.compressor.empty()) {
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

/// Bytes of memory that the machine has.
std::int64_t physical_memory_bytes() {
  return static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) *
         static_cast<std::int64_t>(::sysconf(_SC_PAGESIZE));
}

std::unique_ptr<LatentStore> make_store(const RunConfig& config, const ClaraModel& model,
                                        std::int64_t rows_per_epoch, std::int64_t rank) {
  std::string kind = config.objective.latent_cache;
  if (kind == "off") return nullptr;
  if (kind == "auto") {
    // An upper bound: every row with 20 documents of its own. A quarter of the memory may go to the
    // store.
    const auto bytes = static_cast<double>(rows_per_epoch) * 20.0 *
                       static_cast<double>(model.num_memory()) *
                       static_cast<double>(model.base().config().hidden_size) *
                       static_cast<double>(c10::elementSize(model.base().dtype()));
    kind = bytes <= 0.25 * static_cast<double>(physical_memory_bytes()) ? "memory" : "disk";
  }
  if (kind == "memory") return std::make_unique<MemoryLatentStore>();
  const fs::path folder = config.objective.latent_cache_folder.empty()
                              ? fs::path(config.output.folder) / "latents"
                              : fs::path(config.objective.latent_cache_folder);
  return std::make_unique<DiskLatentStore>(
      folder, compressor_fingerprint(model),
      std::vector<std::int64_t>{model.num_memory(), model.base().config().hidden_size},
      model.base().dtype(), rank);
}

/// The objective of a stage with what it refers to.
struct StageObjective {
  std::unique_ptr<DocumentLatents> documents;
  std::unique_ptr<Objective> objective;
};

StageObjective make_objective(const RunConfig& config, ClaraModel& model, const JobInputs& inputs,
                              std::unique_ptr<LatentStore> store) {
  StageObjective stage;
  const ObjectiveConfig& o = config.objective;
  const bool checkpointing = config.trainer.activation_checkpointing;
  if (!uses_frozen_documents(config.stage)) {
    stage.objective = std::make_unique<CompressionObjective>(
        model,
        CompressionSettings{o.alignment_weight, o.latent_token_loss, config.model.lora.dropout,
                            config.trainer.memory_learning_rate_ratio, checkpointing,
                            inputs.text.bos_id, inputs.text.eos_id});
    return stage;
  }
  stage.documents = std::make_unique<DocumentLatents>(model, std::move(store),
                                                      config.trainer.max_tokens_per_micro_batch);
  if (config.stage == Stage::kJoint) {
    stage.objective = std::make_unique<JointObjective>(
        model, *stage.documents,
        JointSettings{o.num_selected, o.temperature,
                      o.topk_mask == "exact" ? TopkMask::kExact : TopkMask::kLeaky,
                      config.model.lora.dropout, checkpointing});
  } else {
    stage.objective = std::make_unique<RetrieverObjective>(
        model, *stage.documents,
        RetrieverSettings{o.temperature, config.model.lora.dropout, checkpointing});
  }
  return stage;
}

ModelDescription describe_model(const RunConfig& config, const JobInputs& inputs) {
  ModelDescription d;
  d.base = config.model.base;
  d.stage = to_string(config.stage);
  d.doc_max_tokens = config.model.doc_max_tokens;
  d.compression_rate = config.model.compression_rate;
  d.num_memory_tokens = config.num_memory_tokens();
  d.num_selected = config.objective.num_selected;
  d.document_format = config.data.document_format;
  d.chat_format = inputs.text.chat_format.description;
  d.lora = lora_settings(config.model.lora);
  d.library_version = kVersion;
  return d;
}

[[noreturn]] void refuse_run_folder(const std::string& folder, const std::string& reason) {
  throw CheckpointError(folder + ": the run folder cannot be written: " + reason +
                        "; choose another --output (output.folder)");
}

/// Proves that the run folder can be made and written before anything expensive; leaves nothing
/// behind.
void probe_run_folder(const fs::path& folder) {
  std::vector<fs::path> made;
  const fs::path probe = folder / ".probe";
  try {
    made = make_folders(folder);
    write_file_atomically(probe, "");
  } catch (const Error& failure) {
    remove_empty_folders(made);
    refuse_run_folder(folder.string(), failure.what());
  }
  std::error_code error;
  fs::remove(probe, error);
  remove_empty_folders(made);
}

/// Two processes in one run folder would mix their checkpoints.
void lock_run_folder(const fs::path& folder, std::optional<FolderLock>& lock) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) refuse_run_folder(folder.string(), error.message());
  try {
    lock.emplace(folder);
  } catch (const Error& failure) {
    throw CheckpointError(std::string(failure.what()) +
                          "; wait for that run to end, or choose another --output");
  }
}

void write_run_config(const RunConfig& config) {
  try {
    write_file_atomically(fs::path(config.output.folder) / "config.yaml", print_run_config(config));
  } catch (const std::exception& failure) {
    refuse_run_folder(config.output.folder, failure.what());
  }
}

void export_final_tokenizer(const RunConfig& config, const JobInputs& inputs) {
  const fs::path folder = fs::path(config.output.folder) / "final";
  try {
    export_tokenizer(config.model.base, folder, *inputs.text.tokenizer, inputs.text.special_tokens);
  } catch (const std::exception& failure) {
    throw CheckpointError(folder.string() + ": the tokenizer could not be written: " +
                          failure.what() + "; make room, then go on with --resume auto");
  }
}

void report_skipped(const std::map<std::int64_t, std::string>& rows,
                    const std::vector<std::string>& validation, TrainObserver& observer) {
  const std::size_t total = rows.size() + validation.size();
  if (total == 0) return;
  observer.on_message(std::to_string(total) + " bad rows were skipped (data.on_bad_record: skip):");
  for (const auto& [row, message] : rows) {
    if (!message.empty()) observer.on_message("  " + message);
  }
  for (const std::string& message : validation) observer.on_message("  " + message);
}

/// Bad rows that any rank met; each counts once. A collective.
std::map<std::int64_t, std::string> skipped_rows_of_all(const RecordTrainingData& data,
                                                        Communicator& communicator) {
  std::string own;
  for (const auto& [row, message] : data.skipped_rows())
    own += std::to_string(row) + " " + message + '\0';
  std::map<std::int64_t, std::string> all;
  for (const std::string& rank : communicator.gather(own)) {
    for (std::size_t begin = 0; begin < rank.size();) {
      const std::size_t blank = rank.find(' ', begin), end = rank.find('\0', begin);
      std::string& message = all[std::stoll(rank.substr(begin, blank - begin))];
      if (message.empty()) message = rank.substr(blank + 1, end - blank - 1);
      begin = end + 1;
    }
  }
  return all;
}

/// The checkpoint that rank 0 chooses. A collective; where rank 0 refuses, it announces that.
std::optional<fs::path> choose_checkpoint_together(const RunConfig& config,
                                                   const std::string& resume,
                                                   Communicator& communicator,
                                                   TrainObserver& observer) {
  std::string chosen;
  if (communicator.rank() == 0) {
    if (const auto checkpoint = choose_checkpoint(config, resume, observer))
      chosen = checkpoint->string();
  }
  chosen = communicator.gather(chosen)[0];
  if (chosen.empty()) return std::nullopt;
  if (!fs::exists(chosen)) {
    throw CheckpointError(chosen +
                          ": not found here, but rank 0 goes on from it; every node needs "
                          "the run folder (output.folder) on a shared file system");
  }
  return chosen;
}

/// What every rank must have alike; each line begins with its name.
void check_same_on_all_ranks(const std::string& lines, Communicator& communicator) {
  const std::vector<std::string> all = communicator.gather(lines);
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    std::istringstream first(all[0]), other(all[rank]);
    std::string expected, found;
    while (std::getline(first, expected) && std::getline(other, found) && expected == found) {
    }
    throw DataError("the ranks must work on the same: expected \"" + expected +
                    "\" as on rank 0, found \"" + found + "\" on rank " + std::to_string(rank));
  }
}

/// One line of each data file: the rows must be the same everywhere.
std::string data_fingerprint_lines(const std::map<std::string, std::string>& fingerprints) {
  std::string lines;
  for (const auto& [name, fingerprint] : fingerprints) {
    if (name.starts_with("file of data.")) lines += "\n" + name + ": " + fingerprint;
  }
  return lines;
}

/// The base must be the same everywhere. One rank of a node reads large files whole, once; the
/// others find its result.
void check_same_base(const std::string& base, Communicator& communicator) {
  if (communicator.size() == 1) return;
  WeightsDigest digest;
  if (communicator.local_rank() == 0) digest = digest_weights(base, user_cache_folder());
  communicator.barrier();
  if (communicator.local_rank() != 0) digest = digest_weights(base, user_cache_folder());
  check_same_on_all_ranks("files of " + base + ": " + digest.layout, communicator);
  const std::vector<std::string> contents = communicator.gather(digest.content);
  std::size_t first = 0;  // a node without a cache has no content hash of large files
  while (first < contents.size() && contents[first].empty()) ++first;
  for (std::size_t rank = first + 1; rank < contents.size(); ++rank) {
    if (contents[rank].empty() || contents[rank] == contents[first]) continue;
    throw DataError(base + ": the weights of rank " + std::to_string(rank) + " (content " +
                    contents[rank] + ") are not those of rank " + std::to_string(first) + " (" +
                    contents[first] + "); copy the model anew to the nodes");
  }
}

/// Everything but the communicator's own end.
TrainLoopResult train_stage(const RunConfig& config, const JobOptions& options,
                            Communicator& communicator, TrainObserver& observer) {
  set_threads(config.trainer.num_threads);
  const bool is_first = communicator.rank() == 0;
  const std::string config_yaml = print_run_config(config);
  check_same_on_all_ranks(std::string("clara ") + kVersion + "\n" + config_yaml, communicator);
  const std::optional<fs::path> resume =
      choose_checkpoint_together(config, options.resume, communicator, observer);
  const JobInputs inputs = open_inputs(config);
  check_initial_adapters(config);
  if (resume) {
    for (const std::string& message :
         check_resume_changes(*resume, load_run_progress(*resume), config, inputs.fingerprints,
                              options.allow_changes)) {
      observer.on_message(message);
    }
  }
  check_same_base(config.model.base, communicator);
  if (is_first) probe_run_folder(config.output.folder);
  const std::unique_ptr<ClaraModel> model =
      make_model(config, *inputs.text.tokenizer, communicator.local_rank(), observer);
  check_same_on_all_ranks("training rows: " + std::to_string(inputs.data->rows_per_epoch()) +
                              "\nvalidation rows: " + std::to_string(inputs.validation.size()) +
                              "\ndevice: " + (model->device().is_cuda() ? "cuda" : "cpu") +
                              "\ndtype: " + std::string(c10::toString(model->base().dtype())) +
                              data_fingerprint_lines(inputs.fingerprints),
                          communicator);
  std::unique_ptr<LatentStore> store =
      uses_frozen_documents(config.stage)
          ? make_store(config, *model, inputs.data->rows_per_epoch(), communicator.rank())
          : nullptr;
  const StageObjective stage = make_objective(config, *model, inputs, std::move(store));
  std::optional<FolderLock> lock;
  if (is_first) {
    lock_run_folder(config.output.folder, lock);
    write_run_config(config);
  }
  TrainLoopInputs loop{*model,
                       *stage.objective,
                       *inputs.data,
                       inputs.validation,
                       communicator,
                       describe_model(config, inputs),
                       config.trainer,
                       config.output,
                       config.logging,
                       config_yaml,
                       resume,
                       options.should_stop,
                       options.profile_steps,
                       inputs.fingerprints};
  loop.bucket_bytes = static_cast<std::int64_t>(config.parallel.bucket_megabytes * 1048576);
  if (stage.documents != nullptr) {
    loop.prepare_rows = [&](const std::vector<Example>& rows) {
      std::vector<const TokenIds*> documents;
      for (const Example& row : rows) {
        for (const TokenIds& document : row.documents) documents.push_back(&document);
      }
      stage.documents->share(documents, communicator);
    };
  }
  if (resume) observer.on_message("resuming from " + resume->string());
  TrainLoopResult result;
  try {
    result = train_loop(loop, observer);
  } catch (const Error&) {
    report_skipped(inputs.data->skipped_rows(), inputs.skipped_validation, observer);
    throw;
  }
  if (!result.stopped && is_first) export_final_tokenizer(config, inputs);
  report_skipped(skipped_rows_of_all(*inputs.data, communicator), inputs.skipped_validation,
                 observer);
  communicator.leave();
  return result;
}

}  // namespace

TrainLoopResult run_training_job(const RunConfig& config, const JobOptions& options,
                                 TrainObserver& observer) {
  SingleProcessCommunicator alone;
  Communicator& communicator = options.communicator != nullptr ? *options.communicator : alone;
  try {
    return train_stage(config, options, communicator, observer);
  } catch (const DistributedError&) {
    throw;  // the group knows
  } catch (const NonFiniteError&) {
    throw;  // every rank throws it
  } catch (const std::exception& error) {
    communicator.announce_failure(error.what());
    throw;
  }
}

DryRunReport dry_run(const RunConfig& config, TrainObserver& observer) {
  set_threads(config.trainer.num_threads);
  const JobInputs inputs = open_inputs(config, /*look_only=*/true);
  DryRunReport report;
  report.num_rows = inputs.data->source().size();
  report.num_validation_rows = static_cast<std::int64_t>(inputs.validation.size());
  report.num_bad_validation_rows = static_cast<std::int64_t>(inputs.skipped_validation.size());
  report.bad_rows = inputs.skipped_validation;
  report.total_steps = count_total_steps(config.trainer, inputs.data->rows_per_epoch());
  constexpr std::size_t kKeptMessages = 100;
  const auto size_of = [](const Example& e) {
    std::size_t size = e.tokens.size() + e.question.size();
    for (const TokenIds& document : e.documents) size += document.size();
    return size;
  };
  Example longest;
  std::string first_bad_row;
  for (std::int64_t i = 0; i < report.num_rows; ++i) {
    try {
      Example example = inputs.data->builder().build(inputs.data->source().row(i), 0,
                                                     static_cast<std::uint64_t>(i));
      report.num_cut_documents += example.num_cut_documents;
      report.num_cut_questions += example.cut_question ? 1 : 0;
      report.num_cut_answers += example.cut_answer ? 1 : 0;
      report.num_dropped_documents += example.num_dropped_documents;
      report.longest_sequence_tokens = std::max(
          {report.longest_sequence_tokens, static_cast<std::int64_t>(example.tokens.size()),
           static_cast<std::int64_t>(example.question.size())});
      for (const TokenIds& document : example.documents) {
        report.longest_document_tokens =
            std::max(report.longest_document_tokens, static_cast<std::int64_t>(document.size()));
      }
      if (size_of(example) > size_of(longest)) longest = std::move(example);
    } catch (const DataError& error) {
      if (++report.num_bad_rows == 1) first_bad_row = error.what();
      if (report.bad_rows.size() < kKeptMessages) report.bad_rows.emplace_back(error.what());
    }
  }
  if (report.num_bad_rows == report.num_rows)
    throw DataError("every one of the " + std::to_string(report.num_rows) +
                    " training rows is bad; the first: " + first_bad_row);
  const std::unique_ptr<ClaraModel> model = make_model(config, *inputs.text.tokenizer, 0, observer);
  const StageObjective stage = make_objective(config, *model, inputs, nullptr);
  const torch::NoGradGuard no_grad;
  const MicroBatch batch{&longest};
  const MicroBatchContext context{0, 0, 0, config.trainer.seed, false};
  const std::vector<LossTerm> losses = stage.objective->forward(batch, context);
  const std::vector<TermSpec> terms = stage.objective->terms(0);
  const std::vector<std::int64_t> counts = stage.objective->counts(longest, 0);
  for (std::size_t i = 0; i < terms.size(); ++i) {
    if (counts[i] > 0)
      report.loss +=
          terms[i].weight * losses[i].sum.item<double>() / static_cast<double>(counts[i]);
  }
  return report;
}

}  // namespace clara
