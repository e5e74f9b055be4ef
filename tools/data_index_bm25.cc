// The corpus in, counts on stderr.
#include "tools/data_index_bm25.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>

#include "tools/corpus_arguments.h"
#include "tools/data_progress.h"
#include "tools/exit_codes.h"

#include "clara/retrieval/bm25_builder.h"

namespace clara::tools {
namespace {

struct Bm25Arguments {
  CorpusArguments corpus;
  std::string output;
  double k1 = Bm25Settings{}.k1;
  double b = Bm25Settings{}.b;
  std::int64_t memory_mb = 1024;
  bool force = false;
};

int index_bm25(const Bm25Arguments& arguments) {
  CorpusReader corpus = open_corpus(arguments.corpus);
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
  show_corpus(corpus);
  show_count("distinct terms", report.num_terms);
  show_count("terms", report.num_tokens);
  show_count("postings", report.num_postings);
  std::cout << arguments.output << "\n";
  return kExitOk;
}

}  // namespace

std::function<int()> add_index_bm25_command(CLI::App& index) {
  const auto arguments = std::make_shared<Bm25Arguments>();
  CLI::App* command = index.add_subcommand(
      "bm25", "terms and their passages, for BM25 as Lucene scores it; memory is bounded");
  add_corpus_options(*command, arguments->corpus);
  command->add_option("--out", arguments->output, "the folder to write")->required();
  command
      ->add_option("--k1", arguments->k1,
                   "how fast repeated terms saturate; searching may set another")
      ->capture_default_str();
  command->add_option("--b", arguments->b, "how much long passages are held back; the same")
      ->capture_default_str();
  command
      ->add_option("--memory-mb", arguments->memory_mb,
                   "of postings that are sorted in memory at once")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_flag("--force", arguments->force, "replace an index that is there");
  return [arguments] { return index_bm25(*arguments); };
}

}  // namespace clara::tools
