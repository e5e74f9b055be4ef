// clara-data index bm25: its arguments and what it tells when it is done.
#include "tools/data_index.h"

#include <cstdint>
#include <iomanip>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/data_progress.h"
#include "tools/exit_codes.h"

#include "clara/retrieval/bm25_builder.h"

namespace clara::tools {
namespace {

struct IndexArguments {
  std::vector<std::string> corpus;
  std::string output;
  std::string format;  // empty: recognised
  double k1 = Bm25Settings{}.k1;
  double b = Bm25Settings{}.b;
  std::int64_t memory_mb = 1024;
  std::int64_t max_passages = 0;
  std::string on_bad_record = "stop";
  bool force = false;
};

void show(const std::string& name, std::int64_t count) {
  std::cerr << std::left << std::setw(26) << name << std::right << std::setw(14) << count << "\n";
}

int build_bm25(const IndexArguments& arguments) {
  CorpusSettings corpus_settings;
  if (!arguments.format.empty()) corpus_settings.format = parse_corpus_format(arguments.format);
  corpus_settings.skips_bad_rows = arguments.on_bad_record == "skip";
  corpus_settings.max_passages = arguments.max_passages;
  CorpusReader corpus(arguments.corpus, corpus_settings);
  Bm25BuildSettings settings;
  settings.scoring = {arguments.k1, arguments.b};
  settings.memory_bytes = arguments.memory_mb << 20;
  FileProgress bar("passages");
  const Bm25BuildReport report =
      build_bm25_index(corpus, arguments.output, arguments.force, settings,
                       [&](std::int64_t read, std::int64_t all, std::int64_t passages) {
                         bar.update(read, all, passages);
                       });
  bar.finish();
  for (const CorpusFile& file : corpus.files()) {
    std::cerr << file.path << " (" << (file.format ? to_string(*file.format) : "not read") << ")\n";
  }
  show("rows read", corpus.counts().num_rows);
  show("passages", report.num_passages);
  if (corpus.counts().num_blank > 0) show("blank ones left out", corpus.counts().num_blank);
  if (corpus.counts().num_repeated > 0)
    show("repeated ones left out", corpus.counts().num_repeated);
  show("distinct terms", report.num_terms);
  show("terms", report.num_tokens);
  show("postings", report.num_postings);
  if (corpus.counts().num_bad_rows > 0) {
    show("bad rows left out", corpus.counts().num_bad_rows);
    for (const std::string& message : corpus.counts().bad_rows)
      std::cerr << "  " << message << "\n";
  }
  std::cout << arguments.output << "\n";
  return kExitOk;
}

void add_bm25(CLI::App& index, IndexArguments& arguments) {
  CLI::App* command = index.add_subcommand(
      "bm25", "terms and their passages, for BM25 as Lucene scores it; memory is bounded");
  command
      ->add_option("--corpus", arguments.corpus,
                   "passages: JSON rows, DPR's psgs_w100.tsv, KILT's pages, or the documents of "
                   "records; each also .gz")
      ->required();
  command->add_option("--out", arguments.output, "the folder to write")->required();
  command->add_option("--format", arguments.format, "layout (default: recognised in each file)")
      ->check(CLI::IsMember(corpus_format_names()));
  command
      ->add_option("--k1", arguments.k1,
                   "how fast repeated terms saturate; searching may set another")
      ->capture_default_str();
  command->add_option("--b", arguments.b, "how much long passages are held back; the same")
      ->capture_default_str();
  command
      ->add_option("--memory-mb", arguments.memory_mb,
                   "of postings that are sorted in memory at once")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--max-passages", arguments.max_passages, "the first ones only; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      ->add_option("--on-bad-record", arguments.on_bad_record,
                   "stop, or skip: leave out, count and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
  command->add_flag("--force", arguments.force, "replace an index that is there");
}

}  // namespace

std::function<int()> add_index_command(CLI::App& app) {
  const auto arguments = std::make_shared<IndexArguments>();
  CLI::App* command = app.add_subcommand("index", "an index over the passages of a corpus");
  command->require_subcommand(1);
  add_bm25(*command, *arguments);
  return [arguments] { return build_bm25(*arguments); };
}

}  // namespace clara::tools
