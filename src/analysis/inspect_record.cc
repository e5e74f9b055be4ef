// From a raw row to everything that training would make of it.
#include "clara/analysis/inspect_record.h"

#include <algorithm>
#include <map>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/checkpoint/model_files.h"
#include "clara/checkpoint/train_state.h"
#include "clara/common/error.h"
#include "clara/common/tensor_file.h"
#include "clara/config/load_config.h"
#include "clara/data/records.h"
#include "clara/latents/document_latents.h"
#include "clara/model/answer_loss.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

// Tokens encoded together: one record has few enough for any device.
constexpr std::int64_t kTokensPerBatch = 8192;
constexpr const char* kReplacementCharacter = "\xEF\xBF\xBD";

torch::Tensor on_host(const torch::Tensor& tensor) {
  return tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
}

ShownTokens show_tokens(const TokenIds& ids, const TextSide& text) {
  ShownTokens shown;
  shown.ids = ids;
  for (const TokenId id : ids) {
    if (text.special_tokens.is_added(id)) {
      shown.texts.push_back(text.special_tokens.name(id));
      continue;
    }
    std::string decoded = text.tokenizer->decode({id}, /*skip_special=*/false);
    const bool is_part =
        decoded.empty() || decoded.find(kReplacementCharacter) != std::string::npos;
    shown.texts.push_back(is_part ? text.tokenizer->id_to_token(id) : std::move(decoded));
  }
  return shown;
}

/// The generator's tokens as runs of text and slots.
std::vector<PromptPiece> show_prompt(const Example& example, const TextSide& text) {
  std::vector<PromptPiece> pieces;
  TokenIds run;
  bool run_is_answer = false;
  std::int32_t slot = -1;
  const auto end_run = [&] {
    if (run.empty()) return;
    pieces.push_back({-1, run_is_answer, text.tokenizer->decode(run, /*skip_special=*/false)});
    run.clear();
  };
  for (std::size_t t = 0; t < example.tokens.size(); ++t) {
    const TokenId id = example.tokens[t];
    const bool is_answer = t >= static_cast<std::size_t>(example.prompt_length);
    if (text.special_tokens.is_memory(id)) {
      end_run();
      if (id == text.special_tokens.first_memory()) pieces.push_back({++slot, is_answer, ""});
    } else if (text.special_tokens.is_added(id)) {
      end_run();
      pieces.push_back({-1, is_answer, text.special_tokens.name(id)});
    } else {
      if (is_answer != run_is_answer) end_run();
      run_is_answer = is_answer;
      run.push_back(id);
    }
  }
  end_run();
  return pieces;
}

bool uses_query(Stage stage) { return stage == Stage::kJoint || stage == Stage::kRetriever; }

void add_loss(ModelView& view, const std::string& name, double sum, std::int64_t count,
              double weight) {
  const double mean = count > 0 ? sum / static_cast<double>(count) : 0;
  view.losses.push_back({name, mean, count, weight});
  view.loss += weight * mean;
}

void add_answer(ModelView& view, const ClaraModel& model, const Example& example,
                const torch::Tensor& latents, bool keep_logits) {
  const AnswerBatch batch = model.pack_answers({&example.tokens}, {example.prompt_length});
  const torch::Tensor states = model.answer_states(batch, latents);
  const torch::Tensor& head = model.base().weights().head;
  const torch::Tensor rows = model.memory().output_rows();
  const CrossEntropyResult result = chunked_cross_entropy(states, head, rows, batch.targets);
  view.nll_A = on_host(result.nll);
  if (keep_logits) view.logits_AV = on_host(answer_logits(states, head, rows));
  add_loss(view, "cross_entropy", result.sum.item<double>(), example.num_answer_tokens(), 1.0);
}

ModelView look_through_model(const ClaraModel& model, const Example& example,
                             const InspectionSettings& settings) {
  const torch::NoGradGuard no_grad;
  ModelView view;
  std::vector<const TokenIds*> documents;
  for (const TokenIds& document : example.documents) documents.push_back(&document);
  if (!uses_query(settings.stage) && documents.empty()) {
    add_answer(view, model, example, /*latents=*/{}, settings.keep_logits);
    return view;
  }
  if (!uses_query(settings.stage)) {
    const CompressedDocuments compressed = model.compress(model.pack(documents));
    view.latents_NMD = on_host(compressed.latents_NMD);
    view.alignment_N = on_host(compressed.alignment_N);
    add_answer(view, model, example, compressed.latents_NMD, settings.keep_logits);
    add_loss(view, "alignment", view.alignment_N.sum().item<double>(), view.alignment_N.size(0),
             settings.alignment_weight);
    return view;
  }
  const torch::Tensor latents =
      encode_documents(model, AdapterRole::kCompressor, documents, kTokensPerBatch);
  const torch::Tensor query = model.encode_questions(model.pack({&example.question}));
  const torch::Tensor scores = cosine_scores(query[0], latents.flatten(1));
  view.latents_NMD = on_host(latents);
  view.query_vector_1Q = on_host(query);
  view.scores_N = on_host(scores);
  if (settings.stage == Stage::kRetriever) {
    if (!example.positives.empty()) {
      const std::vector<std::int64_t> positives(example.positives.begin(), example.positives.end());
      const torch::Tensor loss =
          retrieval_loss(scores, torch::tensor(positives, torch::kInt64).to(scores.device()),
                         settings.temperature);
      add_loss(view, "retrieval", loss.item<double>(), 1, 1.0);
    }
    return view;
  }
  const StraightThroughSelection selection = straight_through_topk(
      scores, settings.prompt.num_selected, settings.temperature, settings.topk_mask);
  view.weights_SN = on_host(selection.weights_SK);
  view.indices_S = selection.indices_S.to(torch::kCPU).contiguous();
  add_answer(view, model, example, latents.index_select(0, selection.indices_S),
             settings.keep_logits);
  return view;
}

/// The config of the run that wrote a checkpoint or final/ folder, where it can be found.
std::optional<RunConfig> find_run_config(const fs::path& checkpoint) {
  if (fs::exists(checkpoint / "trainer_state.json"))
    return parse_run_config(load_run_progress(checkpoint).config_yaml,
                            checkpoint.string() + "/config");
  const fs::path beside = fs::absolute(checkpoint / "").parent_path().parent_path() / "config.yaml";
  if (fs::exists(beside)) return load_run_config(beside);
  return std::nullopt;
}

std::optional<Stage> stage_of_name(const std::string& name) {
  for (const Stage stage : {Stage::kScp, Stage::kTune, Stage::kJoint, Stage::kRetriever}) {
    if (to_string(stage) == name) return stage;
  }
  return std::nullopt;
}

/// Right-padded rows [N, T] int64.
torch::Tensor padded(const std::vector<const TokenIds*>& sequences, std::int64_t fill) {
  std::size_t longest = 0;
  for (const TokenIds* sequence : sequences) longest = std::max(longest, sequence->size());
  torch::Tensor rows =
      torch::full({static_cast<std::int64_t>(sequences.size()), static_cast<std::int64_t>(longest)},
                  fill, torch::kInt64);
  auto* data = rows.mutable_data_ptr<std::int64_t>();
  for (std::size_t n = 0; n < sequences.size(); ++n)
    std::copy(sequences[n]->begin(), sequences[n]->end(), data + n * longest);
  return rows;
}

void add_inputs(std::map<std::string, torch::Tensor>& tensors, const std::string& prefix,
                const std::vector<const TokenIds*>& sequences) {
  tensors[prefix + ".input_ids"] = padded(sequences, 0);
  std::vector<TokenIds> ones;
  for (const TokenIds* sequence : sequences) ones.emplace_back(sequence->size(), 1);
  std::vector<const TokenIds*> masks;
  for (const TokenIds& mask : ones) masks.push_back(&mask);
  tensors[prefix + ".attention_mask"] = padded(masks, 0);
}

}  // namespace

InspectionSettings inspection_settings(const RunConfig& config, Stage stage) {
  const RunConfig own = config.stage == stage ? config : default_run_config(stage);
  InspectionSettings settings;
  settings.stage = stage;
  settings.prompt = {config.model.doc_max_tokens, own.trainer.max_sequence_tokens,
                     own.objective.num_selected, config.trainer.seed,
                     parse_answer_context(own.objective.context)};
  settings.alignment_weight = own.objective.alignment_weight;
  settings.temperature = own.objective.temperature;
  settings.topk_mask = own.objective.topk_mask == "exact" ? TopkMask::kExact : TopkMask::kLeaky;
  return settings;
}

Stage recognise_stage(const RawRow& raw, std::optional<Stage> preferred,
                      std::int32_t num_selected) {
  const Json json = parse_json<Json>(raw.text);
  const bool is_object = json.is_object();
  if (is_object &&
      (json.contains("data_type") || (json.contains("question") && json["question"].is_array()))) {
    (void)parse_scp_record(raw.text, raw.place);
    return Stage::kScp;
  }
  // What is no JSON object gets its message from here.
  const QaRecord record = parse_qa_record(raw.text, raw.place);
  if (preferred && *preferred != Stage::kScp) return *preferred;
  const bool has_more = static_cast<std::int64_t>(record.documents.size()) > num_selected;
  return has_more || json.contains("pos_index") ? Stage::kJoint : Stage::kTune;
}

RecordInspection inspect_record(const RawRow& raw, const TextSide& text,
                                const InspectionSettings& settings, const ClaraModel* model) {
  const PromptBuilder prompts(*text.tokenizer, text.chat_format, text.special_tokens, text.bos_id,
                              text.eos_id, settings.prompt);
  RecordInspection inspection;
  inspection.place = raw.place.str();
  inspection.settings = settings;
  inspection.special_tokens = text.special_tokens;
  std::vector<std::string> texts;
  if (settings.stage == Stage::kScp) {
    const ScpRecord record = parse_scp_record(raw.text, raw.place);
    texts = {record.document};
    inspection.example = prompts.scp_example(record, settings.epoch, settings.row);
  } else {
    const QaRecord record = parse_qa_record(raw.text, raw.place);
    texts = record.documents;
    inspection.question_text = record.question;
    inspection.example = settings.stage == Stage::kTune    ? prompts.tune_example(record)
                         : settings.stage == Stage::kJoint ? prompts.joint_example(record)
                                                           : prompts.retriever_example(record);
  }
  const Example& example = inspection.example;
  for (std::size_t k = 0; k < example.documents.size(); ++k) {
    InspectedDocument document;
    document.text = texts[k];
    document.tokens = show_tokens(prompts.encoder_ids(texts[k], &document.was_cut), text);
    document.num_text_tokens = static_cast<std::int64_t>(
        text.tokenizer->encode(texts[k], SpecialTokenText::kAsText).size());
    document.is_positive = std::find(example.positives.begin(), example.positives.end(),
                                     static_cast<std::int32_t>(k)) != example.positives.end();
    inspection.documents.push_back(std::move(document));
  }
  inspection.question = show_tokens(example.question, text);
  inspection.generator = show_tokens(example.tokens, text);
  inspection.prompt = show_prompt(example, text);
  if (model != nullptr) inspection.model = look_through_model(*model, example, settings);
  return inspection;
}

RecordInspection inspect_row(const RawRow& raw, const InspectionSource& source,
                             const InspectionSettings& settings) {
  if (source.config.empty() && source.checkpoint.empty() && source.base.empty()) {
    throw ConfigError(
        "expected a config, a checkpoint or a base folder, found none of them (--config F, "
        "--checkpoint DIR or --base FOLDER)");
  }
  std::optional<ModelDescription> description;
  std::optional<RunConfig> config;
  if (!source.config.empty()) config = load_run_config(source.config);
  if (!source.checkpoint.empty()) {
    description = describe_model_folder(source.checkpoint);
    if (!config) config = find_run_config(source.checkpoint);
  }
  std::optional<Stage> preferred;
  if (!source.config.empty()) preferred = config->stage;
  if (!preferred && description) preferred = stage_of_name(description->stage);
  const std::int32_t usual_num_selected = config        ? config->objective.num_selected
                                          : description ? description->num_selected
                                                        : ObjectiveConfig{}.num_selected;
  // A wrong record is told of before any weight is read.
  const Stage stage =
      source.stage ? *source.stage : recognise_stage(raw, preferred, usual_num_selected);

  const bool has_config = config.has_value();
  if (!has_config) config = default_run_config(stage);
  if (description) {
    config->model.doc_max_tokens = description->doc_max_tokens;
    config->model.compression_rate = description->compression_rate;
  }
  InspectionSettings all = inspection_settings(*config, stage);
  if (description && !has_config) all.prompt.num_selected = description->num_selected;
  if (description && !has_config && stage == Stage::kTune)
    all.prompt.context = parse_answer_context(description->context);
  all.epoch = settings.epoch;
  all.row = settings.row;
  all.keep_logits = settings.keep_logits;

  if (description) {
    const OpenedModel opened =
        open_checkpoint(source.checkpoint, source.base, source.dtype, source.device);
    return inspect_record(raw, opened.text, all, opened.model.get());
  }
  const TextSide text = open_text_side(source.base.empty() ? config->model.base : source.base,
                                       config->num_memory_tokens(), config->model.chat_format);
  return inspect_record(raw, text, all);
}

void save_inspection(const fs::path& path, const RecordInspection& inspection) {
  const std::string stage = to_string(inspection.settings.stage);
  const Example& example = inspection.example;
  std::map<std::string, torch::Tensor> tensors;
  std::vector<const TokenIds*> documents;
  for (const TokenIds& document : example.documents) documents.push_back(&document);
  add_inputs(tensors, stage + ".documents", documents);
  if (!example.question.empty()) add_inputs(tensors, stage + ".questions", {&example.question});
  if (!example.tokens.empty()) {
    add_inputs(tensors, stage + ".generator", {&example.tokens});
    TokenIds labels = example.tokens;
    std::fill_n(labels.begin(), example.prompt_length, -100);
    tensors[stage + ".generator.labels"] = padded({&labels}, -100);
  }
  if (inspection.model) {
    const ModelView& view = *inspection.model;
    const std::pair<const char*, const torch::Tensor*> named[] = {
        {".latents", &view.latents_NMD},
        {".alignment", &view.alignment_N},
        {".query_vectors", &view.query_vector_1Q},
        {".scores.0", &view.scores_N},
        {".weights.0", &view.weights_SN},
        {".indices.0", &view.indices_S},
        {".nll", &view.nll_A},
        {".logits", &view.logits_AV},
    };
    for (const auto& [name, tensor] : named) {
      if (tensor->defined()) tensors[stage + name] = *tensor;
    }
  }
  try {
    save_tensors(path, tensors, {{"record", inspection.place}});
  } catch (const Error& error) {
    throw DataError(error.what());
  }
}

}  // namespace clara
