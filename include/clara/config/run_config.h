// The whole configuration of a training run, one plain struct a section (interface.md "Config").
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace clara {

enum class Stage { kScp, kTune, kJoint, kRetriever };
enum class Dtype { kAuto, kFloat32, kBfloat16 };
enum class Device { kAuto, kCpu, kCuda };

struct LoraConfig {
  std::int32_t rank = 16;  ///< R
  double alpha = 32;       ///< the update is scaled by alpha / rank
  /// on the adapter's input, in training passes of a trained adapter; 0 = off
  double dropout = 0.1;
  /// names of linear layers (q_proj, …); empty = all linear layers of every block
  std::vector<std::string> target_modules;
};

/// PEFT folders that adapters start from; empty = as model.init_from says, else fresh.
struct AdapterFolders {
  std::string compressor;
  std::string query_reasoner;
  std::string generator;
};

struct ModelConfig {
  /// Hugging Face folder: config.json, *.safetensors, tokenizer files (required)
  std::string base;
  /// checkpoint or final/ of an earlier stage, official folder, or PEFT folder (all three adapters
  /// start from it); empty = fresh adapters
  std::string init_from;
  AdapterFolders adapters;             ///< after init_from
  std::int32_t compression_rate = 16;  ///< M = doc_max_tokens / compression_rate
  std::int32_t doc_max_tokens = 256;   ///< documents are cut on the right to this many tokens
  LoraConfig lora;
  std::string memory_init = "noise";  ///< noise | tokens (numerics §2)
  /// of the base and the compute: auto = bfloat16 where the device computes it fast
  Dtype dtype = Dtype::kAuto;
  Device device = Device::kAuto;
  std::string chat_format;  ///< empty = recognised from the tokenizer's own template
};

struct DataSource {
  std::string path;           ///< .jsonl, .jsonl.gz or .json array
  double weight = 1.0;        ///< how often each row is seen in an epoch, on average; 1 = once
  std::int64_t max_rows = 0;  ///< 0 = all
};

struct DataConfig {
  std::vector<DataSource> train;
  std::vector<DataSource> validation;
  std::int64_t max_rows = 0;  ///< of the training rows in all; 0 = all
  std::uint64_t shuffle_seed = 17;
  /// title_newline | ml_clara (numerics §3); kept in the checkpoint
  std::string document_format = "title_newline";
  std::string on_bad_record = "stop";  ///< stop | skip (skip counts and lists them)
};

struct LatentTokenLossConfig {
  double weight = 0;            ///< 0 = off
  std::int64_t steps = 0;       ///< active for the first `steps` steps
  std::int64_t only_steps = 0;  ///< alone, without cross-entropy, for the first `only_steps`
  std::string target = "span";  ///< what a memory token predicts: its span | the whole document
  std::string token_weights = "uniform";  ///< of the target's tokens: uniform | idf
};

struct ObjectiveConfig {
  // scp and tune; a config of another stage must not have them
  double alignment_weight = 0.1;            ///< λ
  LatentTokenLossConfig latent_token_loss;  ///< warm-up term (numerics §5)
  std::string generator_init = "continue";  ///< tune: continue | reset
  std::string context = "latents";  ///< tune: latents | text | none (what the generator reads)
  // joint and retriever (num_selected: tune too; topk_mask: joint alone)
  std::int32_t num_selected = 5;    ///< S; tune: documents of a row in the prompt at most
  double temperature = 0.02;        ///< τ
  std::string topk_mask = "leaky";  ///< leaky (Algorithm 1) | exact (-inf)
  std::string query_reasoner_init = "compressor";  ///< compressor | random | checkpoint
  std::string latent_cache = "auto";               ///< auto | memory | disk | off
  std::string latent_cache_folder;                 ///< disk: where; empty = <output.folder>/latents
};

struct TrainerConfig {
  std::int64_t rows_per_step = 128;       ///< joint, retriever: 32
  std::int64_t rows_per_micro_batch = 0;  ///< 0 = auto: as many as fit max_tokens_per_micro_batch
  std::int64_t max_tokens_per_micro_batch = 8192;
  std::int64_t num_epochs = 1;
  /// 0 = until the epochs end; else the run (and its schedule) ends here
  std::int64_t max_steps = 0;
  double peak_learning_rate = 1e-4;         ///< joint, retriever: 5e-6
  double memory_learning_rate_ratio = 1.0;  ///< memory rows: times the rate of the adapters
  std::string schedule = "cosine";          ///< cosine | constant (both after the warm-up)
  std::vector<double> adam_betas = {0.9, 0.95};
  double weight_decay = 0;
  double warmup_ratio = 0.03;
  double min_learning_rate_ratio = 0.1;
  double max_gradient_norm = 1.0;
  std::int32_t max_sequence_tokens = 2048;  ///< joint, retriever: 1024
  bool activation_checkpointing = false;
  std::int64_t validate_every_steps =
      50;  ///< and before the first step; 0 = only before it and at the end
  /// rows of data.validation used in each validation, spread over its files; 0 = all
  std::int64_t max_validation_rows = 200;
  std::uint64_t seed = 17;
  std::int32_t num_threads = 0;  ///< 0 = OMP_NUM_THREADS, else all processors
};

struct KeepBestConfig {
  std::string metric;        ///< e.g. validation/recall@5
  std::string mode = "max";  ///< max | min
};

struct OutputConfig {
  std::string folder;                   ///< the run folder (required)
  std::int64_t save_every_steps = 100;  ///< and at the end; 0 = only at the end
  std::int32_t keep_last = 3;
  std::optional<KeepBestConfig> keep_best;
  std::string on_save_error = "stop";  ///< stop | continue
};

struct LoggingConfig {
  std::int64_t every_steps = 1;
  bool tensorboard = true;
};

struct ParallelConfig {
  /// a rank that gives no sign of life, or does not come to a collective, for so long has failed
  double timeout_seconds = 300;
  double bucket_megabytes = 16;  ///< gradients are summed over the ranks in pieces of this size
};

/// The sum of all sections.
struct RunConfig {
  Stage stage = Stage::kScp;
  ModelConfig model;
  DataConfig data;
  ObjectiveConfig objective;
  TrainerConfig trainer;
  OutputConfig output;
  LoggingConfig logging;
  ParallelConfig parallel;

  /// M.
  std::int32_t num_memory_tokens() const { return model.doc_max_tokens / model.compression_rate; }
};

/// "scp", "tune", "joint", "retriever".
std::string to_string(Stage stage);
std::string to_string(Dtype dtype);
std::string to_string(Device device);

}  // namespace clara
