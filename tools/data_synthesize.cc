// clara-data synthesize: arguments, progress by bytes with rate, tokens and cost, the table at the
// end.
#include "tools/data_synthesize.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/exit_codes.h"
#include "tools/stderr_progress.h"
#include "tools/stop_signals.h"

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/progress.h"
#include "clara/synthesis/synthesize.h"

namespace clara::tools {
namespace {

namespace fs = std::filesystem;

struct SynthesizeArguments {
  SynthesisJob job;
  TokenPrices prices;
  std::vector<std::string> kinds = {"simple_qa", "complex_qa", "paraphrase"};
  std::string document_format = "title_newline";
  std::string on_bad_record = "stop";
  std::string shard = "1/1";
  std::string prompts;  // empty: those that are installed
  std::string key_variable = "OPENAI_API_KEY";
  std::string key_file;
  std::string response_format = "auto";
  double connect_timeout = 10;
  double timeout = 300;
  double back_off = 1;
  bool allows_leaks = false;
};

std::chrono::milliseconds milliseconds_of(double seconds) {
  constexpr double kPerSecond = 1000;
  return std::chrono::milliseconds(static_cast<std::int64_t>(std::llround(seconds * kPerSecond)));
}

// Beside an installed program, else in the source tree.
fs::path default_prompts() {
  std::error_code unknown;
  const fs::path program = fs::read_symlink("/proc/self/exe", unknown);
  const fs::path installed = program.parent_path().parent_path() / CLARA_INSTALLED_PROMPTS;
  return !unknown && fs::is_directory(installed, unknown) ? installed
                                                          : fs::path(CLARA_SOURCE_PROMPTS);
}

void parse_shard(const std::string& text, SynthesisJob& job) {
  const std::size_t slash = text.find('/');
  const auto read = [](std::string_view digits, std::int64_t& number) {
    const auto [end, fault] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
    return fault == std::errc() && end == digits.data() + digits.size();
  };
  const std::string_view view = text;
  if (slash == std::string::npos || !read(view.substr(0, slash), job.shard) ||
      !read(view.substr(slash + 1), job.num_shards) || job.shard < 1 ||
      job.shard > job.num_shards) {
    throw ConfigError("--shard: expected I/N with 1 <= I <= N, found \"" + text + "\"");
  }
}

SynthesisJob job_of(const SynthesizeArguments& arguments) {
  SynthesisJob job = arguments.job;
  job.settings.kinds.clear();
  for (const std::string& kind : arguments.kinds)
    job.settings.kinds.push_back(parse_synthesis_kind(kind));
  job.document_format = parse_document_format(arguments.document_format);
  job.skips_bad_rows = arguments.on_bad_record == "skip";
  job.settings.checks.refuses_leaks = !arguments.allows_leaks;
  job.prompts = arguments.prompts.empty() ? default_prompts() : fs::path(arguments.prompts);
  job.server.connect_timeout = milliseconds_of(arguments.connect_timeout);
  job.server.timeout = milliseconds_of(arguments.timeout);
  job.server.back_off = milliseconds_of(arguments.back_off);
  job.server.max_failures_in_a_row = std::max<std::size_t>(20, 2 * job.server.concurrency);
  job.server.adapts_response_format = arguments.response_format == "auto";
  if (!job.server.adapts_response_format)
    job.server.response_format = parse_response_format(arguments.response_format);
  parse_shard(arguments.shard, job);
  return job;
}

std::string decimals(double value, int places) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", places, value);
  return text.data();
}

std::string progress_text(const SynthesisReport& report, const TokenPrices& prices,
                          std::size_t num_kinds) {
  std::int64_t num_kept = 0;
  std::int64_t num_dropped = 0;
  for (const KindTotals& kind : report.totals.kinds) {
    num_kept += kind.num_kept;
    for (const auto& [reason, count] : kind.dropped) num_dropped += count;
  }
  const double documents =
      static_cast<double>(report.num_finished) / static_cast<double>(num_kinds);
  std::string text = decimals(documents / std::max(report.seconds, 1e-3), 2) + " documents/s, " +
                     std::to_string(num_kept) + " rows kept, " + std::to_string(num_dropped) +
                     " dropped, " + std::to_string(report.totals.prompt_tokens) + " + " +
                     std::to_string(report.totals.completion_tokens) + " tokens";
  const double cost = cost_of(report.totals, prices);
  if (cost > 0) text += ", cost " + decimals(cost, 2);
  if (report.num_failed > 0) text += ", " + std::to_string(report.num_failed) + " failed";
  return text;
}

int end_of(const SynthesisReport& report) {
  if (report.is_stopped) {
    std::cerr << "stopped by a signal; the same command goes on from here\n";
    return 128 + stop_signal();
  }
  if (report.num_failed > 0) {
    print_error(std::to_string(report.num_failed) +
                " rows got no answer and are left to the next run (give the same command again); "
                "the last: " +
                report.failure);
    return kExitServer;
  }
  return kExitOk;
}

int synthesize_rows(const SynthesizeArguments& arguments) {
  const SynthesisJob job = job_of(arguments);
  const ApiKey key = arguments.key_file.empty() ? api_key_from_environment(arguments.key_variable)
                                                : api_key_from_file(arguments.key_file);
  install_stop_signals();
  std::optional<ProgressBar> bar;
  SynthesisHooks hooks;
  hooks.should_stop = [] { return stop_signal() != 0; };
  hooks.notify = [&](const std::string& message) {
    if (bar) bar->clear();
    std::cerr << message << "\n";
  };
  hooks.progress = [&](const SynthesisProgress& progress) {
    constexpr std::int64_t kKibibyte = 1024;
    if (!bar) {
      bar.emplace(stderr_progress(), std::max<std::int64_t>(progress.num_bytes / kKibibyte, 1),
                  "KiB read");
    }
    bar->update(progress.num_bytes_read / kKibibyte,
                progress_text(*progress.report, arguments.prices, job.settings.kinds.size()));
  };
  const SynthesisReport report = synthesize(job, key, hooks);
  if (bar) bar->finish();
  write_file_atomically(report.folder / "summary.json",
                        synthesis_summary_json(report, arguments.prices));
  std::cerr << render_synthesis_report(report, arguments.prices);
  std::cout << (report.folder / "rows.jsonl").string() << "\n";
  return end_of(report);
}

void add_document_options(CLI::App& command, SynthesizeArguments& arguments) {
  SynthesisJob& job = arguments.job;
  command
      .add_option("--data", job.files,
                  "documents: rows of JSON (text, contents, docs, … with title), also .gz, or .txt "
                  "with blank lines between documents")
      ->required();
  command.add_option("--output", job.output, "folder to write, or to go on with")->required();
  command
      .add_option("--document-format", arguments.document_format,
                  "how title and text become a document, as data.document_format")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}))
      ->capture_default_str();
  command
      .add_option("--on-bad-record", arguments.on_bad_record,
                  "stop, or skip: leave out, count and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command
      .add_option("--shard", arguments.shard,
                  "I/N: the documents of process I of N, into a folder of its own in --output")
      ->capture_default_str();
  command.add_option("--max-documents", job.max_documents, "the first ones only; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

void add_server_options(CLI::App& command, SynthesizeArguments& arguments) {
  ChatSettings& server = arguments.job.server;
  command
      .add_option("--base-url", server.base_url,
                  "of an OpenAI-compatible server, http://127.0.0.1:8000/v1")
      ->required();
  command.add_option("--model", server.model, "the teacher, as the server names it")->required();
  command
      .add_option("--api-key-env", arguments.key_variable,
                  "environment variable that holds the key; none is sent where it is not set")
      ->capture_default_str();
  command.add_option("--api-key-file", arguments.key_file, "file that holds the key instead");
  command
      .add_option("--response-format", arguments.response_format,
                  "auto: the strictest that the server takes")
      ->check(CLI::IsMember({"auto", "json_schema", "json_object_schema", "json_object", "text"}))
      ->capture_default_str();
  command.add_option("--concurrency", server.concurrency, "requests at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command
      .add_option("--max-retries", server.max_retries, "of a request, after 429, 5xx, timeouts …")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--back-off", arguments.back_off,
                  "seconds before the first retry, doubled for each further one up to a minute")
      ->check(CLI::Range(0.001, 60.0))
      ->capture_default_str();
  command.add_option("--connect-timeout", arguments.connect_timeout, "seconds")
      ->check(CLI::Range(0.01, 3600.0))
      ->capture_default_str();
  command.add_option("--timeout", arguments.timeout, "seconds of a whole request")
      ->check(CLI::Range(0.01, 86400.0))
      ->capture_default_str();
  command.add_option("--max-response-bytes", server.max_response_bytes, "of one response")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--price-per-million-in", arguments.prices.per_million_in, "prompt tokens")
      ->check(CLI::NonNegativeNumber);
  command
      .add_option("--price-per-million-out", arguments.prices.per_million_out, "answered tokens")
      ->check(CLI::NonNegativeNumber);
}

void add_writing_options(CLI::App& command, SynthesizeArguments& arguments) {
  SynthesisSettings& settings = arguments.job.settings;
  command.add_option("--prompts", arguments.prompts,
                     "folder of prompts (default: those that came with the program)");
  command.add_option("--kinds", arguments.kinds, "rows of a document, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"simple_qa", "complex_qa", "paraphrase"}))
      ->capture_default_str();
  command.add_option("--num-pairs", settings.num_pairs, "questions asked for at first")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--max-pairs", settings.max_pairs, "of a row, later rounds included")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--max-rounds", settings.max_rounds, "before a row is given up")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command.add_option("--temperature", settings.temperature, "of writing; judging has 0")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  command.add_option("--seed", settings.seed, "sent to the server")->capture_default_str();
  command.add_option("--max-answer-tokens", settings.max_answer_tokens, "of one answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

void add_check_options(CLI::App& command, SynthesizeArguments& arguments) {
  SynthesisSettings& settings = arguments.job.settings;
  CheckSettings& checks = settings.checks;
  const CLI::Range share(0.0, 1.0);
  command
      .add_option("--min-document-words", settings.min_document_words,
                  "shorter documents are left out")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--max-document-characters", settings.max_document_characters,
                  "longer documents are left out")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--min-grounding", checks.min_grounding,
                  "simple_qa: share of an answer's words that stand in the document")
      ->check(share)
      ->capture_default_str();
  command
      .add_option("--min-grounding-complex", checks.min_grounding_complex, "the same of complex_qa")
      ->check(share)
      ->capture_default_str();
  command
      .add_option("--max-question-overlap", checks.max_question_overlap,
                  "questions that share more of their words are one")
      ->check(share)
      ->capture_default_str();
  command.add_flag("--allow-leaks", arguments.allows_leaks,
                   "keep pairs whose answer stands in the question");
  command
      .add_option("--max-question-characters", checks.max_question_characters,
                  "longer ones are refused")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--max-answer-characters", checks.max_answer_characters,
                  "longer ones are refused")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--max-run-overlap", checks.max_run_overlap,
                  "paraphrase: share of its runs of 4 words that the document has too")
      ->check(share)
      ->capture_default_str();
  command
      .add_option("--min-word-overlap", checks.min_word_overlap,
                  "paraphrase: share of its words that the document has too")
      ->check(share)
      ->capture_default_str();
  command
      .add_option("--min-length-ratio", checks.min_length_ratio,
                  "paraphrase: its words by the document's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command.add_option("--max-length-ratio", checks.max_length_ratio, "the same")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

}  // namespace

std::function<int()> add_synthesize_command(CLI::App& app) {
  const auto arguments = std::make_shared<SynthesizeArguments>();
  CLI::App* command = app.add_subcommand(
      "synthesize",
      "rows of the first training stage from documents: a teacher behind an OpenAI-compatible "
      "server writes questions and paraphrases, judges whether they cover the document, and "
      "completes them; the same command goes on after a stop");
  add_document_options(*command, *arguments);
  add_server_options(*command, *arguments);
  add_writing_options(*command, *arguments);
  add_check_options(*command, *arguments);
  return [arguments] { return synthesize_rows(*arguments); };
}

}  // namespace clara::tools
