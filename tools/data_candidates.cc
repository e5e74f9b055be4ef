// clara-data candidates: its arguments, a progress bar by bytes, the summary on stderr.
#include "tools/data_candidates.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "tools/data_progress.h"
#include "tools/exit_codes.h"

#include "clara/common/error.h"
#include "clara/data/records.h"
#include "clara/eval/retrieve_candidates.h"
#include "clara/retrieval/bm25_disk_index.h"

namespace clara::tools {
namespace {

struct CandidateArguments {
  std::string data, index, output;
  std::int64_t top = CandidateSettings{}.num_candidates;
  bool oracle = false;
  bool in_benchmark = false;
  std::int64_t hard_negatives = 0;
  std::string document_format = "title_newline";
  std::optional<double> k1, b;
  std::int32_t num_threads = 0;
  std::uint64_t seed = CandidateSettings{}.seed;
  std::string on_bad_record = "stop";
  bool no_verify = false;
  bool force = false;
};

int find_candidates(const CandidateArguments& arguments) {
  CandidateSettings settings;
  if (arguments.oracle) settings.mode = CandidateMode::kOracle;
  if (arguments.in_benchmark) settings.mode = CandidateMode::kInBenchmark;
  if (arguments.hard_negatives > 0) settings.mode = CandidateMode::kHardNegatives;
  settings.num_candidates = arguments.top;
  settings.num_hard_negatives = arguments.hard_negatives;
  settings.document_format = parse_document_format(arguments.document_format);
  settings.seed = arguments.seed;
  settings.skips_bad_rows = arguments.on_bad_record == "skip";
  const Bm25DiskIndex index(
      arguments.index, {arguments.k1, arguments.b, arguments.num_threads, !arguments.no_verify});
  FileProgress bar("questions");
  const CandidateReport report = retrieve_candidates(
      arguments.data, arguments.output, index, index.passages(), settings, arguments.force,
      [&](std::int64_t read, std::int64_t all, std::int64_t rows) { bar.update(read, all, rows); });
  bar.finish();
  std::cerr << render_candidate_report(report);
  std::cout << arguments.output << "\n";
  return kExitOk;
}

}  // namespace

std::function<int()> add_candidates_command(CLI::App& app) {
  const auto arguments = std::make_shared<CandidateArguments>();
  CLI::App* command = app.add_subcommand(
      "candidates",
      "give questions the documents that an index finds; records in, records with docs and "
      "pos_index out");
  command->add_option("--data", arguments->data, "records: .jsonl, .json, each also .gz")
      ->required();
  command->add_option("--index", arguments->index, "folder of clara-data index bm25")->required();
  command->add_option("--out", arguments->output, "the .jsonl or .jsonl.gz file to write")
      ->required();
  command->add_option("--top", arguments->top, "documents of a record")
      ->check(CLI::Range(std::int64_t{1}, kMaxDocuments))
      ->capture_default_str();
  CLI::Option* oracle = command->add_flag(
      "--oracle", arguments->oracle,
      "gold documents that were not found replace the last others; the order is drawn");
  CLI::Option* own = command->add_flag(
      "--in-benchmark", arguments->in_benchmark,
      "keep the record's own documents, each text once, and fill up from the index");
  CLI::Option* negatives =
      command
          ->add_option("--hard-negatives", arguments->hard_negatives,
                       "for training: the gold documents and so many of the best others that do "
                       "not hold an answer; the order is drawn")
          ->check(CLI::Range(std::int64_t{1}, kMaxDocuments - 1));
  oracle->excludes(own)->excludes(negatives);
  own->excludes(negatives);
  command
      ->add_option("--document-format", arguments->document_format,
                   "how title and text become a document, as data.document_format")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}))
      ->capture_default_str();
  command->add_option("--k1", arguments->k1, "of BM25 (default: the index's)");
  command->add_option("--b", arguments->b, "of BM25 (default: the index's)");
  command->add_option("--threads", arguments->num_threads, "that search; 0 = all cores")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_option("--seed", arguments->seed, "of the orders that are drawn")
      ->capture_default_str();
  command
      ->add_option("--on-bad-record", arguments->on_bad_record,
                   "stop, or skip: leave out, count and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command->add_flag("--no-verify", arguments->no_verify,
                    "open the index without comparing its checksums");
  command->add_flag("--force", arguments->force, "replace a file that is there");
  return [arguments] { return find_candidates(*arguments); };
}

}  // namespace clara::tools
