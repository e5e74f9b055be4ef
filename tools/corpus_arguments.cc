// One wording of these options, whatever is made of the passages.
#include "tools/corpus_arguments.h"

#include <iomanip>
#include <iostream>

namespace clara::tools {

void add_corpus_options(CLI::App& command, CorpusArguments& arguments) {
  command
      .add_option("--corpus", arguments.files,
                  "passages: JSON rows, DPR's psgs_w100.tsv, KILT's pages, or the documents of "
                  "records; each also .gz")
      ->required();
  command.add_option("--format", arguments.format, "layout (default: recognised in each file)")
      ->check(CLI::IsMember(corpus_format_names()));
  command.add_option("--max-passages", arguments.max_passages, "the first ones only; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--on-bad-record", arguments.on_bad_record,
                  "stop, or skip: leave out, count and list")
      ->check(CLI::IsMember({"stop", "skip"}))
      ->capture_default_str();
}

CorpusReader open_corpus(const CorpusArguments& arguments) {
  CorpusSettings settings;
  if (!arguments.format.empty()) settings.format = parse_corpus_format(arguments.format);
  settings.skips_bad_rows = arguments.on_bad_record == "skip";
  settings.max_passages = arguments.max_passages;
  return CorpusReader(arguments.files, settings);
}

void show_count(const std::string& name, std::int64_t count) {
  std::cerr << std::left << std::setw(26) << name << std::right << std::setw(14) << count << "\n";
}

void show_corpus(const CorpusReader& corpus) {
  for (const CorpusFile& file : corpus.files()) {
    std::cerr << file.path << " (" << (file.format ? to_string(*file.format) : "not read") << ")\n";
  }
  const CorpusCounts& counts = corpus.counts();
  show_count("rows read", counts.num_rows);
  show_count("passages", counts.num_passages);
  if (counts.num_blank > 0) show_count("blank ones left out", counts.num_blank);
  if (counts.num_repeated > 0) show_count("repeated ones left out", counts.num_repeated);
  if (counts.num_bad_rows > 0) {
    show_count("bad rows left out", counts.num_bad_rows);
    for (const std::string& message : counts.bad_rows) std::cerr << "  " << message << "\n";
  }
}

}  // namespace clara::tools
