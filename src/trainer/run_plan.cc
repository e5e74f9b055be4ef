// The plan's arithmetic: 2 operations a matrix parameter and token forward, 2 more for the gradient
// of a frozen layer's input.
#include "clara/trainer/run_plan.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "clara/checkpoint/open_model.h"
#include "clara/data/prompts.h"
#include "clara/data/row_source.h"
#include "clara/model/base_config.h"
#include "clara/model/lora.h"
#include "clara/trainer/sequence_limits.h"
#include "clara/trainer/train_loop.h"
#include "clara/trainer/training_data.h"

namespace clara {
namespace {

constexpr std::int64_t kSampleRows = 200;
constexpr double kGigabyte = 1e9;
// What a process on the CPU holds besides, fitted to measured runs (docs/performance.md): buffers
// of libraries, and freed pages that its heap keeps between tensors of other sizes.
constexpr double kCpuBufferBytes = 0.3e9;
constexpr double kCpuHeapShare = 0.2;  ///< of the activations
constexpr double kCandidates = 20;     ///< of a joint row where none can be read: the paper's K

/// Values kept for backward for one token in one block: the residual stream twice, q, k, v, the
/// attention's output, gate and up, q and k once more before a norm of heads, and the rank-R
/// activations of the adapted layers. (The normed inputs and the product of gate and up are made
/// again.)
double saved_values_per_token(const BaseConfig& b, std::int64_t rank) {
  const double d = static_cast<double>(b.hidden_size), f = static_cast<double>(b.intermediate_size);
  const double q = static_cast<double>(b.num_heads * b.head_dim),
               kv = static_cast<double>(b.num_kv_heads * b.head_dim);
  return 2 * d + 2 * q + 2 * kv + 2 * f + (b.qk_norm ? q + kv : 0) +
         static_cast<double>(rank) * static_cast<double>(b.projections().size());
}

/// Attention scores and their product with the values, causal: 2 · 2 · H · hd · T²/2.
double attention_operations(const BaseConfig& b, double tokens) {
  return 2.0 * static_cast<double>(b.num_heads * b.head_dim) * tokens * tokens *
         static_cast<double>(b.num_layers);
}

bool uses_frozen_documents(Stage stage) {
  return stage == Stage::kJoint || stage == Stage::kRetriever;
}

/// Tuning on text or without documents trains the generator alone.
bool reads_latents(const RunConfig& config) { return config.objective.context == "latents"; }

bool has_tokenizer(const std::filesystem::path& base) {
  return std::filesystem::exists(base / "tokenizer.json") ||
         std::filesystem::exists(base / "tokenizer.model");
}

/// Tokens and documents of a row: averages over a sample.
void measure_rows(const RunConfig& config, const RowSource& rows, RunPlan& plan) {
  const TextSide text =
      open_text_side(config.model.base, config.num_memory_tokens(), config.model.chat_format);
  const PromptBuilder prompts(*text.tokenizer, text.chat_format, text.special_tokens, text.bos_id,
                              text.eos_id,
                              {config.model.doc_max_tokens, config.trainer.max_sequence_tokens,
                               config.objective.num_selected, config.trainer.seed,
                               parse_answer_context(config.objective.context)});
  const ExampleBuilder builder(config.stage, prompts);
  const std::int64_t available = rows.size();
  for (std::int64_t i = 0; i < std::min(available, kSampleRows); ++i) {
    const std::int64_t row = i * std::max<std::int64_t>(available / kSampleRows, 1);
    const Example example = builder.build(rows.row(row), 0, static_cast<std::uint64_t>(row));
    double document_tokens = 0;
    for (const TokenIds& document : example.documents)
      document_tokens += static_cast<double>(document.size());
    plan.documents += static_cast<double>(example.documents.size());
    plan.document_tokens += document_tokens;
    plan.prompt_tokens += static_cast<double>(example.tokens.size());
    plan.question_tokens += static_cast<double>(example.question.size());
    plan.answer_tokens +=
        example.tokens.empty() ? 0.0 : static_cast<double>(example.num_answer_tokens());
    plan.longest_row_tokens =
        std::max(plan.longest_row_tokens,
                 static_cast<double>(example.tokens.size() + example.question.size()) +
                     (uses_frozen_documents(config.stage) ? 0.0 : document_tokens));
    ++plan.rows_sampled;
  }
  const auto sampled = static_cast<double>(std::max<std::int64_t>(plan.rows_sampled, 1));
  for (double* value : {&plan.documents, &plan.document_tokens, &plan.prompt_tokens,
                        &plan.question_tokens, &plan.answer_tokens})
    *value /= sampled;
}

/// The most that the config lets a row be: every document, question and prompt is cut there.
void take_limits(const RunConfig& config, RunPlan& plan) {
  const bool frozen_documents = uses_frozen_documents(config.stage);
  const double selected = !reads_latents(config)        ? 0
                          : config.stage == Stage::kScp ? 1
                                                        : config.objective.num_selected;
  const double encoder = config.model.doc_max_tokens + 3 + config.num_memory_tokens();
  plan.documents = frozen_documents ? kCandidates : selected;
  plan.document_tokens = plan.documents * encoder;
  plan.question_tokens = frozen_documents ? encoder : 0;
  if (config.stage != Stage::kRetriever) {
    plan.prompt_tokens = config.trainer.max_sequence_tokens;
    plan.answer_tokens = plan.prompt_tokens - selected * (config.num_memory_tokens() + 1);
  }
  plan.longest_row_tokens =
      plan.prompt_tokens + plan.question_tokens + (frozen_documents ? 0.0 : plan.document_tokens);
}

std::string count_text(double value) {
  static constexpr struct {
    double size;
    const char* suffix;
  } kUnits[] = {{1e15, " P"}, {1e12, " T"}, {1e9, " G"}, {1e6, " M"}, {1e3, " k"}};
  char text[48];
  for (const auto& unit : kUnits) {
    if (value >= unit.size) {
      std::snprintf(text, sizeof text, "%10.2f%s", value / unit.size, unit.suffix);
      return text;
    }
  }
  std::snprintf(text, sizeof text, "%10.0f  ", value);
  return text;
}

/// Not inlined: g++ 12 then sees overflows in the names that are not there (GCC bug 105329).
[[gnu::noinline]] void add_line(std::vector<PlanLine>& lines, const char* name, double value) {
  lines.push_back({name, value});
}

void line(std::ostringstream& out, const std::string& name, const std::string& value) {
  char text[128];
  std::snprintf(text, sizeof text, "  %-34s %s\n", name.c_str(), value.c_str());
  out << text;
}

}  // namespace

RunPlan make_run_plan(const RunConfig& config, std::int64_t num_gpus) {
  const BaseConfig base = load_base_config(config.model.base);
  check_sequence_limits(config, base);
  RunPlan plan;
  plan.stage = config.stage;
  plan.base = config.model.base;
  plan.num_gpus = num_gpus;
  const bool frozen_documents = uses_frozen_documents(config.stage);
  const bool generates = config.stage != Stage::kRetriever;

  const RowSource rows(config.data.train, config.data.max_rows);
  plan.rows = EpochOrder(rows, config.data.shuffle_seed, 0).size();
  plan.total_steps = count_total_steps(config.trainer, plan.rows);
  if (has_tokenizer(config.model.base)) {
    measure_rows(config, rows, plan);
  } else {
    take_limits(config, plan);
  }

  // Parameters.
  const LoraSettings lora{config.model.lora.rank, config.model.lora.alpha,
                          config.model.lora.dropout, config.model.lora.target_modules};
  const auto adapter = static_cast<double>(count_lora_parameters(base, lora));
  const auto memory_rows = static_cast<double>(config.num_memory_tokens() * base.hidden_size);
  const double trained = config.stage == Stage::kRetriever || !reads_latents(config) ? adapter
                         : frozen_documents                                          ? 2 * adapter
                                            : 2 * adapter + memory_rows;
  const auto add_parameters = [&](const char* name, double value) {
    add_line(plan.parameters, name, value);
  };
  add_parameters("base (frozen)", static_cast<double>(base.num_parameters()));
  add_parameters("compressor adapter", adapter);
  add_parameters("query reasoner adapter", adapter);
  add_parameters("generator adapter", adapter);
  add_parameters("memory rows", memory_rows);
  add_parameters("trained in this stage", trained);

  // Memory of one device. The base is replicated; the micro-batch is the unit of activations.
  // A plan is for the devices that are asked about, not for this machine, unless the config says
  // cpu.
  const bool bfloat16 = config.model.device == Device::kCpu
                            ? resolve_dtype(config.model.dtype, torch::kCPU) == torch::kBFloat16
                            : config.model.dtype != Dtype::kFloat32;
  const double bytes = bfloat16 ? 2 : 4;
  const double row_tokens =
      plan.prompt_tokens + plan.question_tokens + (frozen_documents ? 0.0 : plan.document_tokens);
  plan.rows_per_device = (config.trainer.rows_per_step + num_gpus - 1) / num_gpus;
  const auto rows_per_device = static_cast<double>(plan.rows_per_device);
  double micro_batch_tokens =
      config.trainer.rows_per_micro_batch > 0
          ? static_cast<double>(config.trainer.rows_per_micro_batch) * row_tokens
          : std::max(static_cast<double>(config.trainer.max_tokens_per_micro_batch),
                     plan.longest_row_tokens);
  micro_batch_tokens = std::min(micro_batch_tokens, rows_per_device * row_tokens);
  const double per_block = saved_values_per_token(base, lora.rank) * bytes;
  const double stream = static_cast<double>(base.hidden_size) * bytes;
  const double activations =
      config.trainer.activation_checkpointing
          ? micro_batch_tokens * (2 * stream * static_cast<double>(base.num_layers) + per_block)
          : micro_batch_tokens * (per_block * static_cast<double>(base.num_layers) + stream);
  const double logits = generates ? 256.0 * static_cast<double>(base.vocab_rows) * bytes : 0;
  const double store = frozen_documents && config.objective.latent_cache != "off"
                           ? static_cast<double>(plan.rows) * plan.documents * memory_rows * bytes
                           : 0;
  const auto add_memory = [&](const char* name, double value) {
    add_line(plan.memory_bytes, name, value);
  };
  add_memory("base weights", static_cast<double>(base.num_parameters()) * bytes);
  add_memory("adapters and memory rows", (3 * adapter + memory_rows) * 4);
  add_memory("gradients", trained * 4);
  add_memory("optimizer", trained * 8);
  add_memory("activations of a micro-batch", activations);
  add_memory("logits of a chunk", logits);
  if (config.model.device == Device::kCpu)
    add_memory("buffers, pages the heap keeps", kCpuBufferBytes + kCpuHeapShare * activations);
  for (const PlanLine& memory : plan.memory_bytes) plan.total_bytes += memory.value;
  add_memory("latent store on the host, at most", store);
  plan.fits_80_gb = plan.total_bytes <= 80 * kGigabyte;

  // Arithmetic of a step.
  const auto matrices = static_cast<double>(base.num_matrix_parameters());
  const double frozen_pass = 2 * matrices + 2 * adapter;
  // Of a trained pass: forward, backward, and forward again where activations are not kept.
  const double again = config.trainer.activation_checkpointing ? 1 : 0;
  const double trained_pass = 4 * matrices + 6 * adapter + again * frozen_pass;
  const double trained_attention = 3 + again;
  const double mean_document = plan.documents > 0 ? plan.document_tokens / plan.documents : 0;
  const double head =
      4 * static_cast<double>(base.vocab_rows * base.hidden_size) * plan.answer_tokens;
  const double document_row =
      plan.document_tokens * (frozen_documents ? frozen_pass : trained_pass) +
      plan.documents * attention_operations(base, mean_document) *
          (frozen_documents ? 1 : trained_attention);
  const double rest_row = (plan.prompt_tokens + plan.question_tokens) * trained_pass + head +
                          trained_attention * (attention_operations(base, plan.prompt_tokens) +
                                               attention_operations(base, plan.question_tokens));
  const auto rows_per_step = static_cast<double>(config.trainer.rows_per_step);
  plan.operations_per_step = rows_per_step * (document_row + rest_row);
  plan.warm_operations_per_step = frozen_documents ? rows_per_step * rest_row : 0;
  plan.device_operations_per_step = rows_per_device * (document_row + rest_row);
  return plan;
}

std::string render_plan(const RunPlan& plan) {
  std::ostringstream out;
  out << "plan of " << to_string(plan.stage) << " on " << plan.base << ", " << plan.num_gpus
      << " device(s)\n\nparameters\n";
  for (const PlanLine& p : plan.parameters) line(out, p.name, count_text(p.value));
  out << "\nmemory of one device\n";
  for (const PlanLine& m : plan.memory_bytes) line(out, m.name, count_text(m.value) + "B");
  line(out, "total on the device", count_text(plan.total_bytes) + "B");
  for (const PlanLine& m : plan.memory_bytes) {
    if (m.name == "optimizer" && plan.num_gpus > 1) {
      line(out, "sharding the optimizer would save",
           count_text(m.value * (1 - 1 / static_cast<double>(plan.num_gpus))) +
               "B (not offered: adapters are small)");
    }
  }
  line(out, "fits a device of 80 GB",
       plan.fits_80_gb ? "       yes"
                       : "        NO: lower trainer.max_tokens_per_micro_batch or set "
                         "trainer.activation_checkpointing");
  if (plan.rows_sampled > 0) {
    out << "\narithmetic (token averages over " << plan.rows_sampled << " rows)\n";
  } else {
    out << "\narithmetic (no tokenizer beside config.json: every row at the config's limits)\n";
  }
  line(out, "rows an epoch", count_text(static_cast<double>(plan.rows)));
  line(out, "documents a row", count_text(plan.documents));
  line(out, "document tokens a row", count_text(plan.document_tokens));
  line(out, "question tokens a row", count_text(plan.question_tokens));
  line(out, "prompt and answer tokens a row", count_text(plan.prompt_tokens));
  line(out, "answer tokens a row", count_text(plan.answer_tokens));
  line(out, "operations a step", count_text(plan.operations_per_step) + "FLOP");
  if (plan.warm_operations_per_step > 0)
    line(out, "  with a warm latent store", count_text(plan.warm_operations_per_step) + "FLOP");
  line(out, "rows a step on one device", count_text(static_cast<double>(plan.rows_per_device)));
  line(out, "operations a step on one device",
       count_text(plan.device_operations_per_step) + "FLOP");
  line(out, "steps", count_text(static_cast<double>(plan.total_steps)));
  line(out, "operations in all",
       count_text(plan.operations_per_step * static_cast<double>(plan.total_steps)) + "FLOP");
  return out.str();
}

}  // namespace clara
