// The options of commands that read a corpus, and what they tell about it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "clara/retrieval/corpus.h"

namespace clara::tools {

struct CorpusArguments {
  std::vector<std::string> files;
  std::string format;  // empty: recognised
  std::int64_t max_passages = 0;
  std::string on_bad_record = "stop";
};

void add_corpus_options(CLI::App& command, CorpusArguments& arguments);
CorpusReader open_corpus(const CorpusArguments& arguments);

/// "name   count" as a line on stderr.
void show_count(const std::string& name, std::int64_t count);
/// The files with their layouts, and how many rows and passages they gave.
void show_corpus(const CorpusReader& corpus);

}  // namespace clara::tools
