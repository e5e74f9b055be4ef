// clara-eval: evaluation of a run, scoring of predictions, one question, comparison tables
// (interface.md "Commands"). Arguments and what is shown; the work is in the library.
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "tools/eval_analyze.h"
#include "tools/eval_report.h"
#include "tools/exit_codes.h"
#include "tools/local_ranks.h"
#include "tools/model_place.h"
#include "tools/process_setup.h"
#include "tools/rank_process.h"
#include "tools/stderr_progress.h"
#include "tools/stop_signals.h"
#include <CLI/CLI.hpp>

#include "clara/checkpoint/model_files.h"
#include "clara/checkpoint/open_model.h"
#include "clara/common/error.h"
#include "clara/common/progress.h"
#include "clara/common/version.h"
#include "clara/data/row_source.h"
#include "clara/eval/ask.h"
#include "clara/eval/benchmark_data.h"
#include "clara/eval/benchmark_run.h"
#include "clara/eval/document_file.h"
#include "clara/eval/eval_settings.h"
#include "clara/eval/question_reader.h"
#include "clara/eval/report.h"
#include "clara/eval/score.h"
#include "clara/parallel/launch_env.h"

namespace {

namespace fs = std::filesystem;

/// What `evaluate` and `ask` share.
struct ModelArguments {
  std::string checkpoint;
  clara::tools::ModelPlace place;
  std::string select;  // empty: by the checkpoint's stage
  std::string encoder, query_prefix, passage_prefix;
  std::string context;            ///< empty: as the checkpoint was trained
  std::int32_t num_selected = 0;  // 0: as trained
  std::int32_t max_new_tokens = 64;
  std::int32_t max_sequence_tokens = 0;
  std::int64_t max_batch_tokens = 8192;
  std::uint64_t seed = 17;
};

struct EvaluateArguments {
  std::string run;
  std::string benchmark = "records";
  std::string data;
  std::string setting = "normal";
  std::int64_t max_rows = 0;
  std::string output;
  bool overwrite = false;
  std::int64_t num_processes = 1;
  double timeout_seconds = 1800;
  std::vector<std::string> words;  ///< the command line as it was given
};

struct AskArguments {
  std::string question;
  std::string documents;
};

void add_model_options(CLI::App& app, ModelArguments& arguments) {
  app.add_option("--checkpoint", arguments.checkpoint, "folder of a checkpoint, or a run's final/");
  clara::tools::add_model_place_options(app, arguments.place);
  app.add_option("--select", arguments.select,
                 "which candidates reach the generator (default: query_reasoner after joint and "
                 "retriever training, else given)")
      ->check(CLI::IsMember(clara::document_selector_names()));
  app.add_option("--encoder", arguments.encoder,
                 "Hugging Face folder of the encoder that --select dense (BGE, MiniLM) or "
                 "cross_encoder (a reranker, such as BGE's) ranks by");
  app.add_option("--query-prefix", arguments.query_prefix,
                 "goes before a question that --select dense encodes (default: as the encoder's "
                 "folder says)");
  app.add_option("--passage-prefix", arguments.passage_prefix, "the same before a document");
  app.add_option(
         "--context", arguments.context,
         "how they reach it (default: as trained); text and none run the base model without "
         "adapter, but with the generator's where the checkpoint was tuned on the same")
      ->check(CLI::IsMember(clara::answer_context_names()));
  app.add_option("--num-selected", arguments.num_selected,
                 "documents in the prompt at most (default: as trained)")
      ->check(CLI::PositiveNumber);
  app.add_option("--max-new-tokens", arguments.max_new_tokens, "of an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-sequence-tokens", arguments.max_sequence_tokens,
                 "prompt and answer; documents that do not fit are left out (default: what the "
                 "base model was made for)")
      ->check(CLI::PositiveNumber);
  app.add_option("--batch-tokens", arguments.max_batch_tokens,
                 "tokens computed together; lower it where memory is short")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--seed", arguments.seed, "draws the Oracle order and the random selection")
      ->capture_default_str();
}

clara::EvalSettings settings_of(const ModelArguments& arguments,
                                const clara::ModelDescription& description) {
  clara::EvalSettings settings;
  settings.select = arguments.select.empty() ? clara::default_selector(description.stage)
                                             : clara::parse_document_selector(arguments.select);
  settings.context = clara::parse_answer_context(arguments.context.empty() ? description.context
                                                                           : arguments.context);
  settings.encoder = arguments.encoder;
  settings.query_prefix = arguments.query_prefix;
  settings.passage_prefix = arguments.passage_prefix;
  clara::check_encoder(settings);
  settings.num_selected =
      arguments.num_selected > 0 ? arguments.num_selected : description.num_selected;
  settings.max_new_tokens = arguments.max_new_tokens;
  settings.max_sequence_tokens = arguments.max_sequence_tokens;
  settings.max_batch_tokens = arguments.max_batch_tokens;
  settings.seed = arguments.seed;
  return settings;
}

std::string percent(double fraction) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", 100 * fraction);
  return text;
}

/// --checkpoint, or the final/ folder of --run.
fs::path checkpoint_folder(const std::string& run, const std::string& checkpoint) {
  if (run.empty() == checkpoint.empty()) {
    throw clara::ConfigError("expected --run DIR or --checkpoint DIR, found " +
                             std::string(run.empty() ? "neither" : "both") + " (see --help)");
  }
  if (run.empty()) return checkpoint;
  const fs::path folder = fs::path(run) / "final";
  if (!fs::is_directory(folder)) {
    throw clara::CheckpointError(
        run +
        ": expected the folder of a finished run, found no final/ in it; to evaluate a run that "
        "has not finished give --checkpoint " +
        run + "/checkpoints/step_…");
  }
  return folder;
}

/// The model is opened and all rows are answered, by this process as one rank of the group.
clara::EvalResult evaluate_as_rank(const EvaluateArguments& arguments,
                                   const ModelArguments& model_arguments,
                                   const clara::LaunchEnv& env, const clara::RowSource& rows,
                                   clara::BenchmarkRun run) {
  const torch::Device device =
      clara::resolve_device(model_arguments.place.device(), env.local_rank);
  clara::GroupSettings group;
  group.timeout_seconds = arguments.timeout_seconds;
  group.timeout_setting = "--timeout";
  group.with_cuda = device.is_cuda();
  const std::unique_ptr<clara::Communicator> communicator = clara::tools::join_as_rank(env, group);
  run.communicator = communicator.get();
  try {
    const clara::OpenedModel opened = clara::open_checkpoint_on(
        run.origin.checkpoint, model_arguments.place.base, model_arguments.place.dtype(), device);
    clara::ProgressSink sink = clara::tools::stderr_progress();
    if (env.rank > 0) sink.out = nullptr;
    clara::ProgressBar bar(sink, rows.size(), run.output.filename().string());
    bar.update(0);
    clara::EvalResult result =
        clara::run_benchmark(opened, rows, run, [&](const clara::EvalProgress& progress) {
          bar.update(progress.num_done,
                     "EM " + percent(progress.exact_match) + "  F1 " + percent(progress.f1));
        });
    bar.finish();
    return result;
  } catch (const std::exception& error) {
    if (communicator->size() == 1) throw;
    communicator->announce_failure(error.what());
    clara::tools::end_rank(env, error);
  }
}

void warn_of_untrained_reader(const clara::EvalSettings& settings,
                              const clara::ModelDescription& description) {
  if (settings.select != clara::DocumentSelector::kQueryReasoner ||
      settings.context == clara::AnswerContext::kNone ||
      clara::question_reader(description) == clara::AdapterRole::kQueryReasoner) {
    return;
  }
  std::cerr << "warning: the checkpoint has no trained query reasoner; its compressor reads the "
               "questions\n";
}

int evaluate(const EvaluateArguments& arguments, const ModelArguments& model_arguments) {
  if (arguments.data.empty())
    throw clara::ConfigError("expected --data FILE with the questions (see --help)");
  const fs::path checkpoint = checkpoint_folder(arguments.run, model_arguments.checkpoint);
  const clara::ModelDescription description = clara::describe_model_folder(checkpoint);

  clara::BenchmarkRun run;
  run.settings = settings_of(model_arguments, description);
  run.settings.benchmark = arguments.benchmark;
  run.settings.setting = clara::parse_eval_setting(arguments.setting);
  run.settings.max_rows = arguments.max_rows;
  run.overwrite = arguments.overwrite;
  run.output = arguments.output;
  if (arguments.output.empty()) {
    const fs::path owner = arguments.run.empty() ? checkpoint : fs::path(arguments.run);
    run.output = owner / "eval" /
                 clara::eval_folder_name(run.settings, clara::default_selector(description.stage),
                                         clara::parse_answer_context(description.context));
  }
  run.origin.checkpoint = checkpoint.string();
  run.origin.base =
      model_arguments.place.base.empty() ? description.base : model_arguments.place.base;
  run.origin.data = arguments.data;

  const fs::path output = run.output;
  const clara::LaunchEnv env = clara::read_launch_env(clara::environment_variables());
  // All that can be wrong is looked for before the weights are read.
  clara::EvalResult planned;
  planned.settings = run.settings;
  planned.origin = run.origin;
  const torch::Device device =
      clara::resolve_device(model_arguments.place.device(), env.local_rank);
  const bool is_bfloat16 =
      clara::resolve_dtype(model_arguments.place.dtype(), device) == torch::kBFloat16;
  planned.origin.dtype = is_bfloat16 ? "bfloat16" : "float32";
  // Of a group, rank 0 looks once all have met, so that its refusal reaches the others.
  if (env.world_size == 1) clara::check_output_folder(run.output, planned, run.overwrite);
  const clara::EvaluationData data = clara::prepare_evaluation_data(
      arguments.benchmark, arguments.data, output, arguments.max_rows);
  const clara::RowSource rows({{data.path, 1.0, 0}}, arguments.max_rows);
  clara::check_records(rows);
  // Told once: by the process that starts the ranks.
  if (env.rank == 0 && env.world_size == 1) {
    if (!data.summary.empty()) std::cerr << data.summary << "\n";
    warn_of_untrained_reader(planned.settings, description);
  }

  if (arguments.num_processes > 1) {
    clara::tools::refuse_other_launcher(env);
    return clara::tools::run_local_ranks(
        {arguments.num_processes, arguments.words, arguments.timeout_seconds, ""});
  }
  const clara::EvalResult result =
      evaluate_as_rank(arguments, model_arguments, env, rows, std::move(run));
  if (env.rank > 0) return clara::tools::kExitOk;
  if (result.counts.num_cut_documents > 0) {
    std::cerr << result.counts.num_cut_documents << " documents were longer than "
              << description.doc_max_tokens << " tokens and were cut\n";
  }
  if (result.counts.num_shortened_prompts > 0) {
    std::cerr << result.counts.num_shortened_prompts
              << " prompts had no room for all their documents\n";
  }
  std::cout << clara::render_scores(result.scores) << "\n"
            << (output / "report.md").string() << "\n";
  return clara::tools::kExitOk;
}

int answer_question(const AskArguments& arguments, const ModelArguments& model_arguments) {
  const std::vector<std::string> documents = clara::read_document_file(arguments.documents);
  const clara::OpenedModel opened =
      clara::open_checkpoint(model_arguments.checkpoint, model_arguments.place.base,
                             model_arguments.place.dtype(), model_arguments.place.device());
  const clara::RowAnswer answer = clara::ask(opened, arguments.question, documents,
                                             settings_of(model_arguments, opened.description));
  for (const std::int32_t index : answer.selected) {
    const auto place = static_cast<std::size_t>(index);
    std::cerr << "document " << index;
    if (!answer.scores.empty()) std::cerr << " (score " << answer.scores[place] << ")";
    std::cerr << ": " << documents[place] << "\n";
  }
  std::cout << answer.text << "\n";
  return clara::tools::kExitOk;
}

int score(const std::string& predictions, bool as_json) {
  const clara::EvalScores scores = clara::score_predictions_file(predictions);
  std::cout << (as_json ? clara::scores_to_json(scores) : clara::render_scores(scores));
  return clara::tools::kExitOk;
}

}  // namespace

int main(int argc, char** argv) {
  clara::tools::keep_heap_memory();
  CLI::App app{"Evaluate a trained CLaRa model on question-answering records.", "clara-eval"};
  app.set_version_flag("--version", std::string("clara-eval ") + clara::kVersion);
  app.require_subcommand(0, 1);

  EvaluateArguments evaluation;
  evaluation.words.assign(argv + 1, argv + argc);
  ModelArguments model;
  app.add_option("--run", evaluation.run, "run folder: its final/ is evaluated");
  app.add_option(
         "--benchmark", evaluation.benchmark,
         "what --data holds: records of this project, or a published layout, which is converted "
         "into the output folder")
      ->check(CLI::IsMember(clara::evaluation_benchmark_names()))
      ->capture_default_str();
  app.add_option("--data", evaluation.data, "questions: .jsonl, .jsonl.gz or .json");
  app.add_option("--setting", evaluation.setting,
                 "normal: candidates as given; oracle: the gold documents are among them")
      ->check(CLI::IsMember(clara::eval_setting_names()))
      ->capture_default_str();
  app.add_option("--max-rows", evaluation.max_rows, "of the data; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--output", evaluation.output,
                 "folder of the results (default: <run>/eval/<benchmark>_<setting>, with select "
                 "and context where unusual)");
  app.add_flag("--overwrite", evaluation.overwrite, "replace results of other settings");
  app.add_option("--num-processes", evaluation.num_processes,
                 "start so many ranks on this machine, which share the rows")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--timeout", evaluation.timeout_seconds,
                 "seconds after which a rank that the others wait for has failed")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  add_model_options(app, model);

  std::string predictions;
  bool as_json = false;
  CLI::App* score_command =
      app.add_subcommand("score", "compute the metrics of predictions again, without a model");
  score_command->add_option("predictions", predictions, "a predictions.jsonl")->required();
  score_command->add_flag("--json", as_json, "print all digits, as in scores.json");

  const auto report = clara::tools::add_report_command(app);

  AskArguments asking;
  ModelArguments ask_model;
  CLI::App* ask_command = app.add_subcommand("ask", "answer one question over a file of documents");
  add_model_options(*ask_command, ask_model);
  ask_command->get_option("--checkpoint")->required();
  ask_command->add_option("--question", asking.question, "the question")->required();
  ask_command
      ->add_option("--docs", asking.documents,
                   ".jsonl rows, or plain text: a document a line, or separated by blank lines")
      ->required();

  const std::function<int()> analyze = clara::tools::add_analyze_command(app);

  return clara::tools::run_main(app, argc, argv, [&] {
    if (app.got_subcommand("analyze")) return analyze();
    if (*score_command) return score(predictions, as_json);
    if (app.got_subcommand("report")) return report();
    if (*ask_command) return answer_question(asking, ask_model);
    return evaluate(evaluation, model);
  });
}
