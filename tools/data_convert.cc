// clara-data convert: its arguments, a progress bar by bytes, the summary on stderr.
#include "tools/data_convert.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "tools/data_progress.h"
#include "tools/exit_codes.h"

#include "clara/benchmarks/convert.h"
#include "clara/common/error.h"

namespace clara::tools {
namespace {

struct ConvertArguments {
  std::vector<std::string> data;
  std::string output;
  std::string format;  // empty: recognised
  std::string record = "evaluation";
  std::string document_format = "title_newline";
  std::string on_bad_record = "stop";
  std::string unanswerable = "drop";
  std::string aliases;
  std::string tokenizer;
  std::int32_t doc_max_tokens = 0;
  std::int32_t overlap = ChunkSettings{}.overlap_tokens;
  std::int64_t max_rows = 0;
  std::int64_t max_documents = 0;  // 0: the record's default
  std::uint64_t seed = BenchmarkRecordSettings{}.seed;
  bool force = false;
  bool keep_complete = false;
};

ConvertSettings settings_of(const ConvertArguments& arguments) {
  ConvertSettings settings;
  if (!arguments.format.empty()) settings.format = parse_benchmark_format(arguments.format);
  settings.max_rows = arguments.max_rows;
  settings.skips_bad_rows = arguments.on_bad_record == "skip";
  settings.keeps_unanswerable = arguments.unanswerable == "keep";
  settings.keeps_complete = arguments.keep_complete;
  if (!arguments.aliases.empty()) settings.aliases = read_answer_aliases(arguments.aliases);
  BenchmarkRecordSettings& record = settings.record;
  record.kind = parse_record_kind(arguments.record);
  record.document_format = parse_document_format(arguments.document_format);
  record.max_documents =
      arguments.max_documents > 0 ? arguments.max_documents : default_max_documents(record.kind);
  if (record.kind == RecordKind::kScp &&
      (arguments.max_documents > 0 || !arguments.aliases.empty() || settings.keeps_unanswerable)) {
    throw ConfigError(
        "--max-documents, --aliases, --unanswerable: expected another record with them than scp, "
        "whose rows have neither questions nor several documents");
  }
  record.seed = arguments.seed;
  if ((arguments.doc_max_tokens > 0) != !arguments.tokenizer.empty()) {
    throw ConfigError("expected --doc-max-tokens and --tokenizer together, found only one of them");
  }
  if (arguments.doc_max_tokens > 0) {
    record.chunks.max_tokens = arguments.doc_max_tokens;
    record.chunks.overlap_tokens = arguments.overlap;
    record.tokenizer = load_tokenizer(arguments.tokenizer);
  }
  return settings;
}

int convert(const ConvertArguments& arguments) {
  const ConvertSettings settings = settings_of(arguments);
  FileProgress bar("rows");
  const auto progress = [&](std::int64_t read, std::int64_t all, std::int64_t rows) {
    bar.update(read, all, rows);
  };
  ConvertReport report;
  if (arguments.output == "-") {
    report = convert_benchmarks(
        arguments.data, settings, [](std::string_view line) { std::cout << line; }, progress);
    std::cout.flush();
    if (!std::cout) throw Error("standard output: cannot be written");
  } else {
    report = convert_benchmark_files(arguments.data, arguments.output, arguments.force, settings,
                                     progress);
  }
  bar.finish();
  std::cerr << render_convert_report(report);
  if (arguments.output != "-") std::cout << arguments.output << "\n";
  return kExitOk;
}

}  // namespace

std::function<int()> add_convert_command(CLI::App& app) {
  const auto arguments = std::make_shared<ConvertArguments>();
  CLI::App* command = app.add_subcommand(
      "convert",
      "published benchmark files (HotpotQA, 2WikiMultihopQA, MuSiQue, NQ, DPR, KILT, FlashRAG, "
      "ml-clara) into records; the layout is recognised from the rows");
  command
      ->add_option("--data", arguments->data,
                   "published files: JSON lines, a JSON array or objects, each also .gz")
      ->required();
  command
      ->add_option("--out", arguments->output,
                   "the .jsonl or .jsonl.gz file to write; - for standard output")
      ->required();
  command->add_option("--format", arguments->format, "layout (default: recognised in each file)")
      ->check(CLI::IsMember(benchmark_format_names()));
  command
      ->add_option("--record", arguments->record,
                   "evaluation (serves joint training too), joint, tune: only few documents, the "
                   "gold ones first of all, or scp: each passage once, to be told from its latents")
      ->check(CLI::IsMember({"scp", "tune", "joint", "evaluation"}))
      ->capture_default_str();
  command
      ->add_option("--document-format", arguments->document_format,
                   "how title and text become a document, as data.document_format")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}))
      ->capture_default_str();
  command
      ->add_option("--max-documents", arguments->max_documents,
                   "passages of a record, gold ones first (default: 20, tune 5)")
      ->check(CLI::Range(std::int64_t{1}, kMaxDocuments));
  command
      ->add_option("--doc-max-tokens", arguments->doc_max_tokens,
                   "split longer documents into chunks, each with the title; needs --tokenizer")
      ->check(CLI::PositiveNumber);
  command->add_option("--tokenizer", arguments->tokenizer,
                      "folder with the tokenizer of the base model");
  command
      ->add_option("--overlap", arguments->overlap,
                   "tokens of one chunk that the next repeats, at most")
      ->capture_default_str();
  command->add_option("--aliases", arguments->aliases,
                      "2Wiki's id_aliases.json: more names of the answers");
  command->add_option("--max-rows", arguments->max_rows, "rows read of all files; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--on-bad-record", arguments->on_bad_record,
                   "stop, or skip: leave out, count and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command
      ->add_option("--unanswerable", arguments->unanswerable,
                   "drop the rows that say so (MuSiQue-Full), or keep them with answerable: false")
      ->check(CLI::IsMember({"drop", "keep"}))
      ->capture_default_str();
  command
      ->add_option("--seed", arguments->seed,
                   "of the order of passages that come by relevance (DPR)")
      ->capture_default_str();
  command->add_flag("--keep-complete", arguments->keep_complete,
                    "of a file that is cut off: convert its whole rows (default: an error)");
  command->add_flag("--force", arguments->force, "replace a file that is there");
  return [arguments] { return convert(*arguments); };
}

}  // namespace clara::tools
