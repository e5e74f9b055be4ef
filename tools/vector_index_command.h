// The options of commands that build an index of vectors, whatever encoder they come from, and the
// building with its progress and summary.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tools/corpus_arguments.h"
#include <CLI/CLI.hpp>

#include "clara/parallel/launch_env.h"
#include "clara/retrieval/dense_index.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara::tools {

struct VectorIndexArguments {
  std::string output;
  std::string kind = "flat";
  DenseIndexSettings settings;  ///< the command fills in what it has options of its own for
  std::optional<std::int64_t> recall_queries;  ///< nothing: default_recall_queries()
  std::string cut_hint;            ///< what is said after the number of passages that were cut
  int threads = 0;                 ///< 0: all cores, or a rank's share of them
  std::int64_t num_processes = 1;  ///< ranks to start on this machine
  double timeout_seconds = 3600;
  std::vector<std::string> words;  ///< the command line as it was given
};

/// Opens the encoder for a rank, and fills in what of VectorIndexArguments::settings it decides.
using OpenEncoder = std::function<std::unique_ptr<const VectorEncoder>(const LaunchEnv&)>;

void add_vector_index_options(CLI::App& command, VectorIndexArguments& arguments);

/// Builds, with a progress bar at a terminal and a summary on stderr: as a process alone, as a rank
/// of the group that the environment describes, or by starting ranks. Returns the exit code; a
/// signal ends it after the file at hand.
int build_vector_index(const CorpusArguments& corpus, const OpenEncoder& open_encoder,
                       VectorIndexArguments& arguments);

}  // namespace clara::tools
