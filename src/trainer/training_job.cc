// From config to trained model, in the order in which mistakes are cheapest to find.
#include "clara/trainer/training_job.h"

#include <algorithm>
#include <map>
#include <sstream>
#include <utility>

#include "trainer/initial_model.h"
#include "trainer/job_inputs.h"
#include "trainer/latent_token_weights.h"
#include "trainer/rank_agreement.h"
#include "trainer/resume_check.h"
#include <ATen/Parallel.h>
#include <torch/torch.h>
#include <unistd.h>

#include "clara/checkpoint/open_model.h"
#include "clara/checkpoint/tokenizer_export.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/folder_lock.h"
#include "clara/common/version.h"
#include "clara/config/load_config.h"
#include "clara/latents/document_latents.h"
#include "clara/objectives/compression_objective.h"
#include "clara/objectives/generator_objective.h"
#include "clara/objectives/joint_objective.h"
#include "clara/objectives/retriever_objective.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

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
                              std::vector<float> token_weights,
                              std::unique_ptr<LatentStore> store) {
  StageObjective stage;
  const ObjectiveConfig& o = config.objective;
  const bool checkpointing = config.trainer.activation_checkpointing;
  if (config.stage == Stage::kTune && o.context != "latents") {
    stage.objective = std::make_unique<GeneratorObjective>(
        model, GeneratorSettings{config.model.lora.dropout, checkpointing});
    return stage;
  }
  if (!uses_frozen_documents(config.stage)) {
    stage.objective = std::make_unique<CompressionObjective>(
        model,
        CompressionSettings{o.alignment_weight, o.latent_token_loss, config.model.lora.dropout,
                            config.trainer.memory_learning_rate_ratio, checkpointing,
                            inputs.text.bos_id, inputs.text.eos_id, std::move(token_weights)});
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
  d.context = config.objective.context;
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
  std::vector<float> token_weights = latent_token_weights(config, *model, inputs);
  check_same_on_all_ranks("training rows: " + std::to_string(inputs.data->rows_per_epoch()) +
                              "\nvalidation rows: " + std::to_string(inputs.validation.size()) +
                              "\ndevice: " + (model->device().is_cuda() ? "cuda" : "cpu") +
                              "\ndtype: " + std::string(c10::toString(model->base().dtype())) +
                              "\nlatent token weights: " + fingerprint_of_weights(token_weights) +
                              data_fingerprint_lines(inputs.fingerprints),
                          communicator);
  std::unique_ptr<LatentStore> store =
      uses_frozen_documents(config.stage)
          ? make_store(config, *model, inputs.data->rows_per_epoch(), communicator.rank())
          : nullptr;
  const StageObjective stage =
      make_objective(config, *model, inputs, std::move(token_weights), std::move(store));
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
    loop.latent_store_seconds = [&] { return stage.documents->store_seconds(); };
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
  const StageObjective stage =
      make_objective(config, *model, inputs, latent_token_weights(config, *model, inputs), nullptr);
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
