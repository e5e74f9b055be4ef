// The table of config fields: one entry a field, whose path is the member's own path in RunConfig.
#include "config/field_table.h"

#include <sstream>

namespace clara {
namespace {

constexpr StageSet kScpTune = stage_bit(Stage::kScp) | stage_bit(Stage::kTune);
constexpr StageSet kJointRetriever = stage_bit(Stage::kJoint) | stage_bit(Stage::kRetriever);

// Path and accessor come from the same tokens, so they cannot disagree.
// A type and a member path cannot stand in parentheses.
// NOLINTBEGIN(bugprone-macro-parentheses)
#define CLARA_FIELD(Owner, member) \
#member, +[](Owner & owner) -> auto& { return owner.member; }
// NOLINTEND(bugprone-macro-parentheses)

}  // namespace

std::string stage_names(StageSet stages) {
  std::vector<std::string> names;
  for (Stage stage : kStages) {
    if ((stages & stage_bit(stage)) != 0) names.push_back(to_string(stage));
  }
  std::string text;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (i > 0) text += i + 1 == names.size() ? " and " : ", ";
    text += names[i];
  }
  return text;
}

const std::vector<std::string>& choice_names(Stage) {
  static const std::vector<std::string> kNames = {"scp", "tune", "joint", "retriever"};
  return kNames;
}

const std::vector<std::string>& choice_names(Dtype) {
  static const std::vector<std::string> kNames = {"auto", "float32", "bfloat16"};
  return kNames;
}

const std::vector<std::string>& choice_names(Device) {
  static const std::vector<std::string> kNames = {"auto", "cpu", "cuda"};
  return kNames;
}

bool Range::contains(double value) const {
  if (min_is_open ? !(value > min) : !(value >= min)) return false;
  return max_is_open ? value < max : value <= max;
}

std::string Range::text() const {
  const double infinity = std::numeric_limits<double>::infinity();
  std::ostringstream out;
  if (max == infinity) {
    if (min == -infinity) return "";
    out << (min_is_open ? " > " : " >= ") << min;
  } else {
    out << " in " << (min_is_open ? "(" : "[") << min << ", " << max << (max_is_open ? ")" : "]");
  }
  return out.str();
}

const std::vector<Field<RunConfig>>& run_config_fields() {
  static const std::vector<Field<RunConfig>> kFields = {
      {CLARA_FIELD(RunConfig, stage),
       {.doc = "What is trained; must agree with the subcommand, and may be left to it.",
        .choices = choice_names(Stage{})}},

      {CLARA_FIELD(RunConfig, model.base),
       {.doc = "Hugging Face folder of the frozen base model: config.json, *.safetensors, "
               "tokenizer files.",
        .required = true}},
      {CLARA_FIELD(RunConfig, model.init_from),
       {.doc = "Checkpoint or final/ folder of an earlier stage, folder of an official checkpoint, "
               "or PEFT folder that all three adapters start from; empty = fresh adapters."}},
      {CLARA_FIELD(RunConfig, model.adapters.compressor),
       {.doc = "PEFT folder that the compressor starts from, with its own rank, alpha and target "
               "modules; empty = as model.init_from says."}},
      {CLARA_FIELD(RunConfig, model.adapters.query_reasoner),
       {.doc = "PEFT folder that the query reasoner starts from, whatever "
               "objective.query_reasoner_init says."}},
      {CLARA_FIELD(RunConfig, model.adapters.generator),
       {.doc = "PEFT folder that the generator starts from, whatever objective.generator_init "
               "says."}},
      {CLARA_FIELD(RunConfig, model.compression_rate),
       {.doc = "Text tokens for one memory token: a document becomes doc_max_tokens / "
               "compression_rate memory tokens, which must divide exactly.",
        .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, model.doc_max_tokens),
       {.doc = "Documents are cut on the right to this many tokens.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, model.lora.rank),
       {.doc = "Rank R of the three LoRA adapters.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, model.lora.alpha),
       {.doc = "The update of an adapter is scaled by alpha / rank.", .range = above(0)}},
      {CLARA_FIELD(RunConfig, model.lora.dropout),
       {.doc = "Dropout on the adapter's input in the training passes of a trained adapter; 0 = "
               "off.",
        .range = below(0, 1)}},
      {CLARA_FIELD(RunConfig, model.lora.target_modules),
       {.doc = "Names of the linear layers that get an adapter (q_proj, …); empty = all linear "
               "layers of every block."}},
      {CLARA_FIELD(RunConfig, model.memory_init),
       {.doc = "New embedding rows of the memory tokens: mean of the base rows plus noise, or "
               "rows of ordinary tokens drawn from the seed.",
        .choices = {"noise", "tokens"}}},
      {CLARA_FIELD(RunConfig, model.dtype),
       {.doc = "Of the base and of the compute; auto = bfloat16 where the device computes it fast.",
        .choices = choice_names(Dtype{})}},
      {CLARA_FIELD(RunConfig, model.device),
       {.doc = "Where the model runs; auto = cuda where there is one.",
        .choices = choice_names(Device{})}},
      {CLARA_FIELD(RunConfig, model.chat_format),
       {.doc = "Name of a chat format, or a .json file that describes one; empty = recognised from "
               "the tokenizer's own template."}},

      {CLARA_FIELD(RunConfig, data.train),
       {.doc = "Training files (.jsonl, .jsonl.gz, .json arrays).", .required = true}},
      {CLARA_FIELD(RunConfig, data.validation),
       {.doc = "Validation files; empty = no validation."}},
      {CLARA_FIELD(RunConfig, data.max_rows),
       {.doc = "Training rows used in all; 0 = all.", .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, data.shuffle_seed),
       {.doc = "Seed of the order of the rows.", .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, data.document_format),
       {.doc = "How a benchmark passage becomes text; kept in the checkpoint.",
        .choices = {"title_newline", "ml_clara"}}},
      {CLARA_FIELD(RunConfig, data.on_bad_record),
       {.doc = "stop at a bad record, or skip it (skipped records are counted and listed).",
        .choices = {"stop", "skip"}}},

      {CLARA_FIELD(RunConfig, objective.alignment_weight),
       {.doc = "Weight λ of the alignment loss; 0 = off.",
        .range = at_least(0),
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.latent_token_loss.weight),
       {.doc = "Weight of the warm-up term that lets each memory token predict its span of the "
               "document, or all of it; 0 = off.",
        .range = at_least(0),
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.latent_token_loss.steps),
       {.doc = "The warm-up term is active for the first so many steps.",
        .range = at_least(0),
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.latent_token_loss.only_steps),
       {.doc = "For the first so many steps it is alone, without cross-entropy; at most "
               "latent_token_loss.steps.",
        .range = at_least(0),
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.latent_token_loss.target),
       {.doc = "What a memory token predicts: its span of the document, or all of its tokens.",
        .choices = {"span", "document"},
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.latent_token_loss.token_weights),
       {.doc = "How much each token of the target counts: all alike, or by its inverse document "
               "frequency among the documents of training, so that names count more than words "
               "that every document has.",
        .choices = {"uniform", "idf"},
        .stages = kScpTune}},
      {CLARA_FIELD(RunConfig, objective.generator_init),
       {.doc = "The generator adapter continues from model.init_from, or is reset.",
        .choices = {"continue", "reset"},
        .stages = stage_bit(Stage::kTune)}},
      {CLARA_FIELD(RunConfig, objective.context),
       {.doc =
            "What of a row's documents the generator learns to answer from: their latents, their "
            "text in the prompt, or nothing. With text and none it is trained alone, without "
            "alignment loss: baselines for clara-eval --context.",
        .choices = {"latents", "text", "none"},
        .stages = stage_bit(Stage::kTune)}},
      {CLARA_FIELD(RunConfig, objective.num_selected),
       {.doc = "Documents S that reach the generator; tune: documents of a row in the prompt at "
               "most.",
        .range = at_least(1),
        .stages = kJointRetriever | stage_bit(Stage::kTune)}},
      {CLARA_FIELD(RunConfig, objective.temperature),
       {.doc = "Temperature τ that the cosine scores are divided by.",
        .range = above(0),
        .stages = kJointRetriever}},
      {CLARA_FIELD(RunConfig, objective.topk_mask),
       {.doc = "How documents already taken are masked in straight-through top-k: leaky "
               "(Algorithm 1, log 1e-8) or exact (-inf).",
        .choices = {"leaky", "exact"},
        .stages = stage_bit(Stage::kJoint)}},
      {CLARA_FIELD(RunConfig, objective.query_reasoner_init),
       {.doc = "The query reasoner starts as a copy of the compressor, at random, or from "
               "model.init_from.",
        .choices = {"compressor", "random", "checkpoint"},
        .stages = kJointRetriever}},
      {CLARA_FIELD(RunConfig, objective.latent_cache),
       {.doc = "Where the latents of the frozen compressor are kept, so that a document is encoded "
               "once; off = encoded anew each time.",
        .choices = {"auto", "memory", "disk", "off"},
        .stages = kJointRetriever}},
      {CLARA_FIELD(RunConfig, objective.latent_cache_folder),
       {.doc = "Folder of a latent cache on disk; empty = latents in the run folder.",
        .stages = kJointRetriever}},

      {CLARA_FIELD(RunConfig, trainer.rows_per_step),
       {.doc = "Rows of an optimizer step, over all ranks and micro-batches.",
        .range = at_least(1),
        .stage_defaults = {{kJointRetriever, "32"}}}},
      {CLARA_FIELD(RunConfig, trainer.rows_per_micro_batch),
       {.doc = "Rows of a micro-batch; auto = as many as fit max_tokens_per_micro_batch.",
        .range = at_least(1),
        .word_for_zero = "auto"}},
      {CLARA_FIELD(RunConfig, trainer.max_tokens_per_micro_batch),
       {.doc = "Token budget of a micro-batch.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, trainer.num_epochs),
       {.doc = "Passes over the training rows.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, trainer.max_steps),
       {.doc = "The run and its schedule end after so many steps; 0 = when the epochs end.",
        .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.peak_learning_rate),
       {.doc = "Learning rate of the adapters after the warm-up.",
        .range = above(0),
        .stage_defaults = {{kJointRetriever, "5e-6"}}}},
      {CLARA_FIELD(RunConfig, trainer.memory_learning_rate_ratio),
       {.doc = "Learning rate of the memory rows, as a multiple of that of the adapters.",
        .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.schedule),
       {.doc = "The learning rate after the warm-up.", .choices = {"cosine", "constant"}}},
      {CLARA_FIELD(RunConfig, trainer.adam_betas),
       {.doc = "AdamW's decay of the first and second moment.",
        .range = below(0, 1),
        .num_items = 2}},
      {CLARA_FIELD(RunConfig, trainer.weight_decay),
       {.doc = "AdamW's weight decay, on trained weights only; 0 = off.", .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.warmup_ratio),
       {.doc = "Part of the steps in which the learning rate rises linearly.",
        .range = between(0, 1)}},
      {CLARA_FIELD(RunConfig, trainer.min_learning_rate_ratio),
       {.doc = "Where the cosine ends, as a part of the peak.", .range = between(0, 1)}},
      {CLARA_FIELD(RunConfig, trainer.max_gradient_norm),
       {.doc = "Gradients with a larger global norm are scaled down to it.", .range = above(0)}},
      {CLARA_FIELD(RunConfig, trainer.max_sequence_tokens),
       {.doc = "A prompt with its answer is cut on the right to this many tokens.",
        .range = at_least(1),
        .stage_defaults = {{kJointRetriever, "1024"}}}},
      {CLARA_FIELD(RunConfig, trainer.activation_checkpointing),
       {.doc = "Recompute activations in the backward pass: less memory, more arithmetic."}},
      {CLARA_FIELD(RunConfig, trainer.validate_every_steps),
       {.doc = "Steps between validations, besides those before the first step and at the end; 0 = "
               "only those.",
        .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.max_validation_rows),
       {.doc = "Rows of data.validation used in each validation, spread over its files; 0 = all.",
        .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.seed),
       {.doc = "Seed of initialisation, dropout and all that is drawn in training.",
        .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, trainer.num_threads),
       {.doc = "Threads of the CPU; 0 = OMP_NUM_THREADS, else all processors.",
        .range = at_least(0)}},

      {CLARA_FIELD(RunConfig, output.folder), {.doc = "The run folder.", .required = true}},
      {CLARA_FIELD(RunConfig, output.save_every_steps),
       {.doc = "Steps between checkpoints; 0 = only at the end.", .range = at_least(0)}},
      {CLARA_FIELD(RunConfig, output.keep_last),
       {.doc = "The newest checkpoints kept.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, output.keep_best),
       {.doc = "Also keep the checkpoint with the best value of a metric; null = do not."}},
      {CLARA_FIELD(RunConfig, output.on_save_error),
       {.doc = "When a checkpoint cannot be written (disk full): stop the run, or continue and try "
               "again at the next save. Earlier checkpoints stay either way.",
        .choices = {"stop", "continue"}}},

      {CLARA_FIELD(RunConfig, logging.every_steps),
       {.doc = "Steps between logged lines.", .range = at_least(1)}},
      {CLARA_FIELD(RunConfig, logging.tensorboard), {.doc = "Write TensorBoard events."}},

      {CLARA_FIELD(RunConfig, parallel.timeout_seconds),
       {.doc =
            "A rank that gives no sign of life, or does not come to a collective, for so long has "
            "failed: then all ranks end. Longer than any rank's longest save or wait for data.",
        .range = above(0)}},
      {CLARA_FIELD(RunConfig, parallel.bucket_megabytes),
       {.doc =
            "Gradients are summed over the ranks in pieces of this size, while the backward pass "
            "goes on.",
        .range = above(0)}},
  };
  return kFields;
}

const std::vector<Field<DataSource>>& data_source_fields() {
  static const std::vector<Field<DataSource>> kFields = {
      {CLARA_FIELD(DataSource, path),
       {.doc = "A .jsonl, .jsonl.gz or .json file; an entry that is only a string is the path.",
        .required = true}},
      {CLARA_FIELD(DataSource, weight),
       {.doc = "How often each row is seen in an epoch, on average; 1 = once.", .range = above(0)}},
      {CLARA_FIELD(DataSource, max_rows),
       {.doc = "Rows used of this file; 0 = all.", .range = at_least(0)}},
  };
  return kFields;
}

const std::vector<Field<KeepBestConfig>>& keep_best_fields() {
  static const std::vector<Field<KeepBestConfig>> kFields = {
      {CLARA_FIELD(KeepBestConfig, metric),
       {.doc = "Name of a logged metric, for example validation/recall@5.", .required = true}},
      {CLARA_FIELD(KeepBestConfig, mode),
       {.doc = "Whether a larger or a smaller value is better.", .choices = {"max", "min"}}},
  };
  return kFields;
}

}  // namespace clara
