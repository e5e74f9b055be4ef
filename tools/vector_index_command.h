// The options of commands that build an index of vectors, whatever encoder they come from, and the
// building with its progress and summary.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include <CLI/CLI.hpp>

#include "clara/retrieval/corpus.h"
#include "clara/retrieval/dense_index.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara::tools {

struct VectorIndexArguments {
  std::string output;
  std::string kind = "flat";
  DenseIndexSettings settings;  ///< the command fills in what it has options of its own for
  std::optional<std::int64_t> recall_queries;  ///< nothing: default_recall_queries()
  int threads = 0;                             ///< 0: all cores
};

void add_vector_index_options(CLI::App& command, VectorIndexArguments& arguments);

/// Builds, with a progress bar at a terminal and a summary on stderr. Returns the exit code; a
/// signal ends it after the file at hand.
int build_vector_index(CorpusReader& corpus, const VectorEncoder& encoder,
                       VectorIndexArguments& arguments);

}  // namespace clara::tools
