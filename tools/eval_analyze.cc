// Arguments of the analyses and where their results go; the work is in src/analysis.
#include "tools/eval_analyze.h"

#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/exit_codes.h"
#include "tools/model_place.h"
#include "tools/stderr_progress.h"

#include "clara/analysis/efficiency.h"
#include "clara/analysis/gap_check.h"
#include "clara/analysis/latent_space.h"
#include "clara/analysis/logit_lens.h"
#include "clara/analysis/paraphrase_check.h"
#include "clara/analysis/render_analysis.h"
#include "clara/checkpoint/open_model.h"
#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/progress.h"
#include "clara/data/row_source.h"
#include "clara/eval/document_file.h"

namespace clara::tools {
namespace {

namespace fs = std::filesystem;

struct AnalyzeArguments {
  std::vector<std::string> checkpoints;
  ModelPlace place;
  std::string data;
  std::int64_t max_rows = 0;
  std::string output;
  std::int64_t max_batch_tokens = 8192;
  // logit-lens
  std::string adapter = "query_reasoner";
  LensSettings lens;
  // paraphrase
  ParaphraseSettings paraphrase;
  // efficiency
  EfficiencySettings efficiency;
};

/// Looked at before a model is opened.
fs::path prepare_output(const AnalyzeArguments& arguments) {
  make_folders(arguments.output);
  return arguments.output;
}

OpenedModel open_model(const AnalyzeArguments& arguments, const std::string& checkpoint) {
  return open_checkpoint(checkpoint, arguments.place.base, arguments.place.dtype(),
                         arguments.place.device());
}

std::vector<std::string> read_documents(const AnalyzeArguments& arguments) {
  std::vector<std::string> documents = read_document_file(arguments.data);
  const auto limit = static_cast<std::size_t>(arguments.max_rows);
  if (limit > 0 && documents.size() > limit) documents.resize(limit);
  return documents;
}

std::vector<QaRecord> read_questions(const AnalyzeArguments& arguments) {
  const RowSource rows({{arguments.data, 1.0, 0}}, arguments.max_rows);
  std::vector<QaRecord> records;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const RawRow raw = rows.row(i);
    records.push_back(parse_qa_record(raw.text, raw.place));
  }
  return records;
}

void write_result(const fs::path& path, const std::string& json, const std::string& table) {
  write_file_atomically(path, json);
  std::cout << table << path.string() << "\n";
}

int run_logit_lens(AnalyzeArguments arguments) {
  const fs::path output = prepare_output(arguments);
  const std::vector<QaRecord> records = read_questions(arguments);
  const OpenedModel opened = open_model(arguments, arguments.checkpoints.front());
  std::vector<std::string> questions;
  for (const QaRecord& record : records) questions.push_back(record.question);
  for (const AdapterRole role : kAdapterRoles) {
    if (adapter_name(role) == arguments.adapter) arguments.lens.adapter = role;
  }
  arguments.lens.max_batch_tokens = arguments.max_batch_tokens;
  const std::vector<LensReading> readings = logit_lens(opened, questions, arguments.lens);
  std::vector<LensRow> rows;
  for (std::size_t i = 0; i < records.size(); ++i)
    rows.push_back(make_lens_row(records[i], readings[i]));
  write_result(output / ("logit_lens_" + arguments.adapter + ".json"),
               lens_to_json(arguments.adapter, rows), render_lens(rows));
  return kExitOk;
}

int run_latents(const AnalyzeArguments& arguments) {
  const fs::path output = prepare_output(arguments);
  const std::vector<std::string> documents = read_documents(arguments);
  const OpenedModel opened = open_model(arguments, arguments.checkpoints.front());
  const LatentSpace space = measure_latent_space(opened, documents, arguments.max_batch_tokens);
  save_latent_space(output / "latent_space.safetensors", space);
  write_result(output / "latent_space.json", latent_space_to_json(space),
               render_latent_space(space));
  return kExitOk;
}

int run_paraphrase(AnalyzeArguments arguments) {
  const fs::path output = prepare_output(arguments);
  const std::vector<std::string> documents = read_documents(arguments);
  const OpenedModel opened = open_model(arguments, arguments.checkpoints.front());
  arguments.paraphrase.max_batch_tokens = arguments.max_batch_tokens;
  ProgressBar bar(stderr_progress(), static_cast<std::int64_t>(documents.size()), "paraphrase");
  bar.update(0);
  const std::vector<ParaphraseCheck> checks = check_paraphrases(
      opened, documents, arguments.paraphrase, [&](std::int64_t done) { bar.update(done); });
  bar.finish();
  write_result(output / "paraphrase.json", paraphrases_to_json(checks), render_paraphrases(checks));
  return kExitOk;
}

int run_gap(const AnalyzeArguments& arguments) {
  const fs::path output = prepare_output(arguments);
  const RowSource source({{arguments.data, 1.0, 0}}, arguments.max_rows);
  std::vector<RawRow> rows;
  for (std::int64_t i = 0; i < source.size(); ++i) rows.push_back(source.row(i));
  std::vector<GapCheck> checks;
  for (const std::string& checkpoint : arguments.checkpoints) {
    const OpenedModel opened = open_model(arguments, checkpoint);
    checks.push_back(check_gap(opened, checkpoint, rows, arguments.max_batch_tokens));
  }
  write_result(output / "gap.json", gaps_to_json(checks), render_gaps(checks));
  return kExitOk;
}

int run_efficiency(AnalyzeArguments arguments) {
  const fs::path output = prepare_output(arguments);
  const std::vector<QaRecord> records = read_questions(arguments);
  arguments.efficiency.max_batch_tokens = arguments.max_batch_tokens;
  std::vector<Efficiency> rows;
  for (const std::string& checkpoint : arguments.checkpoints) {
    const OpenedModel opened = open_model(arguments, checkpoint);
    rows.push_back(measure_efficiency(opened, records, arguments.efficiency));
  }
  write_result(output / "efficiency.json", efficiency_to_json(rows), render_efficiency(rows));
  return kExitOk;
}

CLI::App* add_analysis(CLI::App& analyze, const std::string& name, const std::string& what,
                       AnalyzeArguments& arguments) {
  CLI::App* command = analyze.add_subcommand(name, what);
  CLI::Option* checkpoint = command->add_option("--checkpoint", arguments.checkpoints,
                                                "folder of a checkpoint, or a run's final/");
  checkpoint->required();
  if (name != "efficiency" && name != "gap") checkpoint->expected(1);
  add_model_place_options(*command, arguments.place);
  command->add_option("--max-rows", arguments.max_rows, "of the data, the first ones; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--output", arguments.output, "folder to write results into")->required();
  command
      ->add_option("--batch-tokens", arguments.max_batch_tokens,
                   "tokens computed together; lower it where memory is short")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  return command;
}

}  // namespace

std::function<int()> add_analyze_command(CLI::App& app) {
  const auto arguments = std::make_shared<AnalyzeArguments>();
  CLI::App* analyze =
      app.add_subcommand("analyze", "what the latents and the query reasoner of a checkpoint hold");
  analyze->require_subcommand(1);
  constexpr const char* kQuestions = "questions: records (.jsonl, .jsonl.gz or .json)";
  constexpr const char* kDocuments =
      "documents: of records, a JSON row each, or plain text (a line or paragraph each)";

  CLI::App* lens =
      add_analysis(*analyze, "logit-lens",
                   "the words that each memory position of a question points at", *arguments);
  lens->add_option("--data", arguments->data, kQuestions)->required();
  lens->add_option("--adapter", arguments->adapter,
                   "that reads the questions; the query reasoner starts as the compressor")
      ->check(CLI::IsMember({"query_reasoner", "compressor"}))
      ->capture_default_str();
  lens->add_option("--top", arguments->lens.num_top, "tokens of a position")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  CLI::App* latents = add_analysis(
      *analyze, "latents", "latents beside the mean hidden states of their texts", *arguments);
  latents->add_option("--data", arguments->data, kDocuments)->required();

  CLI::App* paraphrase = add_analysis(
      *analyze, "paraphrase", "documents written anew from their latents alone", *arguments);
  paraphrase->add_option("--data", arguments->data, kDocuments)->required();
  paraphrase
      ->add_option("--instruction", arguments->paraphrase.instruction,
                   "which of the 13 paraphrase instructions asks for it")
      ->check(CLI::Range(1, 13))
      ->capture_default_str();
  paraphrase
      ->add_option("--max-new-tokens", arguments->paraphrase.max_new_tokens, "of a paraphrase")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  CLI::App* gap = add_analysis(
      *analyze, "gap",
      "answer loss with a row's own latents and with other documents': how much of the document is "
      "in them; a row each checkpoint",
      *arguments);
  gap->add_option("--data", arguments->data, "records of scp or tune (.jsonl, .jsonl.gz or .json)")
      ->required();

  CLI::App* efficiency = add_analysis(
      *analyze, "efficiency",
      "times of compressing, of questions and of answers, from latents and from text; a row each "
      "checkpoint",
      *arguments);
  efficiency->add_option("--data", arguments->data, kQuestions)->required();
  efficiency
      ->add_option("--num-selected", arguments->efficiency.num_selected, "documents in the prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  efficiency
      ->add_option("--max-new-tokens", arguments->efficiency.max_new_tokens,
                   "decoded for every question")
      ->check(CLI::Range(2, 1 << 20))
      ->capture_default_str();
  efficiency
      ->add_option("--repetitions", arguments->efficiency.repetitions,
                   "of which the fastest counts")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  return [arguments, lens, latents, paraphrase, gap] {
    if (*lens) return run_logit_lens(*arguments);
    if (*latents) return run_latents(*arguments);
    if (*gap) return run_gap(*arguments);
    return *paraphrase ? run_paraphrase(*arguments) : run_efficiency(*arguments);
  };
}

}  // namespace clara::tools
