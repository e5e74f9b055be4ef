// One wording of these options and of the summary for every encoder.
#include "tools/vector_index_command.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <iterator>
#include <optional>
#include <utility>

#include "tools/corpus_arguments.h"
#include "tools/data_progress.h"
#include "tools/exit_codes.h"
#include "tools/local_ranks.h"
#include "tools/rank_process.h"
#include "tools/stderr_progress.h"
#include "tools/stop_signals.h"
#include "tools/use_threads.h"

#include "clara/common/error.h"
#include "clara/common/progress.h"

namespace clara::tools {
namespace {

constexpr std::int64_t kRecallDepth = 20;  // candidates of a question, as elsewhere

std::string in_units(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string describe(const VectorIndexSettings& index, std::int64_t dimension) {
  std::string text = to_string(index.kind);
  const bool is_reduced = index.reduced_dimension > 0 && index.reduced_dimension < dimension;
  if (is_reduced) text += " of " + std::to_string(index.reduced_dimension) + " components";
  if (index.kind == VectorIndexKind::kIvfFlat || index.kind == VectorIndexKind::kIvfPq) {
    text += ", nlist " + std::to_string(index.nlist) + ", nprobe " + std::to_string(index.nprobe);
  }
  if (index.kind == VectorIndexKind::kIvfPq) {
    text += ", " + std::to_string(index.pq_bytes) + " codes of " + std::to_string(index.pq_bits) +
            " bits" + (index.opq ? ", OPQ" : "");
  }
  if (index.kind == VectorIndexKind::kHnsw) {
    text +=
        ", links " + std::to_string(index.hnsw_links) + ", ef " + std::to_string(index.ef_search);
  }
  if (index.rescore > 0) text += ", rescore " + std::to_string(index.rescore);
  return text;
}

void show(const DenseIndexReport& report, const VectorIndexArguments& arguments,
          std::int64_t dimension) {
  const auto row = [](const std::string& name, const std::string& value) {
    std::cerr << name << std::string(name.size() < 12 ? 12 - name.size() : 1, ' ') << value << "\n";
  };
  if (report.num_encoded > 0) {
    char speed[96];
    std::snprintf(speed, sizeof speed, "%lld passages in %s, %.1f passages/s",
                  static_cast<long long>(report.num_encoded),
                  format_duration(report.encode_seconds).c_str(),
                  static_cast<double>(report.num_encoded) / std::max(report.encode_seconds, 1e-9));
    row("encoded", speed);
  }
  if (report.num_encoded < report.num_done)
    row("kept", std::to_string(report.num_done - report.num_encoded) + " vectors of before");
  row("dimension", std::to_string(dimension));
  row("index", describe(report.index, dimension) + ", " + format_duration(report.index_seconds));
  const std::int64_t asked =
      arguments.recall_queries.value_or(default_recall_queries(report.num_passages, dimension));
  if (report.index.kind != VectorIndexKind::kFlat && asked > 0) {
    const VectorIndex index(arguments.output, report.index);
    const std::int64_t count = std::min(asked, report.num_passages);
    char text[96];
    std::snprintf(text, sizeof text, "%.4f of the exact %lld nearest of %lld passages",
                  sampled_recall(index, count, kRecallDepth, report.index.seed),
                  static_cast<long long>(kRecallDepth), static_cast<long long>(count));
    row("recall", text);
  } else if (report.index.kind != VectorIndexKind::kFlat && !arguments.recall_queries) {
    row("recall", "not measured: exact search reads every vector; --recall-queries 100 does it");
  }
  row("size", in_units(report.num_bytes));
}

bool is_stop_asked() { return stop_signal() != 0; }

/// 128 + n; the signal may have reached another rank alone.
int stopped_code() { return 128 + (stop_signal() != 0 ? stop_signal() : SIGTERM); }

int build_as_first_rank(CorpusReader& corpus, const VectorEncoder& encoder,
                        const VectorIndexArguments& arguments, Communicator& communicator) {
  FileProgress reading("passages");
  std::optional<ProgressBar> encoding;
  DenseIndexHooks hooks;
  hooks.communicator = &communicator;
  hooks.on_read = [&](std::int64_t read, std::int64_t all, std::int64_t passages) {
    reading.update(read, all, passages);
  };
  hooks.on_encoded = [&](std::int64_t done, std::int64_t all) {
    if (!encoding) {
      reading.finish();
      encoding.emplace(stderr_progress(), all, "passages");
    }
    encoding->update(done);
  };
  hooks.should_stop = is_stop_asked;
  // The index is built with the cores of the ranks that have left.
  hooks.on_alone = [&] {
    if (arguments.threads == 0) use_threads(0);
  };
  const DenseIndexReport report =
      build_dense_index(corpus, arguments.output, encoder, arguments.settings, hooks);
  reading.finish();
  if (encoding) encoding->finish();
  if (report.num_cut > 0)
    std::cerr << report.num_cut << " passages of this run were " << arguments.cut_hint << "\n";
  if (report.was_stopped) {
    std::cerr << "stopped by a signal";
    if (report.num_done > 0) std::cerr << " with the vectors of " << report.num_done << " passages";
    std::cerr << "; the same command goes on\n";
    return stopped_code();
  }
  show_corpus(corpus);
  show(report, arguments, encoder.dimension());
  std::cout << arguments.output << "\n";
  return kExitOk;
}

}  // namespace

void add_vector_index_options(CLI::App& command, VectorIndexArguments& arguments) {
  VectorIndexSettings& settings = arguments.settings.index;
  command.add_option("--out", arguments.output, "folder to write")->required();
  command.add_option("--kind", arguments.kind, "exact, or approximate with FAISS")
      ->check(CLI::IsMember({"flat", "ivf", "ivf-pq", "hnsw"}))
      ->capture_default_str();
  command.add_option("--nlist", settings.nlist, "cells of ivf and ivf-pq (default: 4 sqrt(N))")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--nprobe", settings.nprobe,
                  "cells that a search looks into (default: nlist / 32, 8 to 256)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--pq-bytes", settings.pq_bytes,
                  "codes of a vector; divides the dimension (default: the largest up to 64)")
      ->check(CLI::PositiveNumber);
  command.add_option("--pq-bits", settings.pq_bits, "bits of a code")
      ->check(CLI::Range(4, 8))
      ->capture_default_str();
  command.add_flag("--opq", settings.opq, "rotate vectors before they are coded (ivf-pq)");
  command
      .add_option("--reduce", settings.reduced_dimension,
                  "principal components that cells, codes and graph are made of, up to 4096; the "
                  "dimension: none (default: none up to a dimension of 4096, else 512)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--rescore", settings.rescore,
                  "times k passages that are found by codes or components and compared exactly "
                  "(default: 10)")
      ->check(CLI::PositiveNumber);
  command.add_option("--hnsw-links", settings.hnsw_links, "neighbours of a vector")
      ->check(CLI::Range(2, 512))
      ->capture_default_str();
  command.add_option("--ef-construction", settings.ef_construction, "breadth while building hnsw")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--ef-search", settings.ef_search, "breadth of a search in hnsw")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--seed", settings.seed, "of the sample that ivf and ivf-pq are trained on")
      ->capture_default_str();
  command
      .add_option("--shard-passages", arguments.settings.shard_passages,
                  "passages of a file; what a killed run, or each of its ranks, loses at most "
                  "(default: 16384, "
                  "or what fits 256 MiB in float32)")
      ->check(CLI::PositiveNumber);
  command
      .add_option("--threads", arguments.threads,
                  "of this process or of each rank; 0 = all cores, or the rank's share of them")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command
      .add_option("--num-processes", arguments.num_processes,
                  "start so many ranks on this machine, which share the passages")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option("--timeout", arguments.timeout_seconds,
                  "seconds after which a rank that the others wait for has failed; longer than the "
                  "reading of the corpus (and of an index to replace) and the encoding of a file")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      .add_option(
          "--recall-queries", arguments.recall_queries,
          "passages of which ivf, ivf-pq and hnsw are asked for the nearest others when they "
          "are built, beside exact search; 0: none (default: 100, or none where all vectors are "
          "more than 10^10 numbers)")
      ->check(CLI::NonNegativeNumber);
  command.add_flag("--force", arguments.settings.replaces,
                   "replace an index that is there, and unfinished work of another corpus, encoder "
                   "or other settings");
}

int build_vector_index(const CorpusArguments& corpus, const OpenEncoder& open_encoder,
                       VectorIndexArguments& arguments) {
  arguments.settings.index.kind = parse_vector_index_kind(arguments.kind);
  const LaunchEnv env = read_launch_env(environment_variables());
  if (arguments.num_processes > 1) {
    refuse_other_launcher(env);
    return run_local_ranks(
        {arguments.num_processes, arguments.words, arguments.timeout_seconds, ""});
  }
  // Launchers give each rank its share of the cores.
  if (env.world_size == 1 || arguments.threads > 0) use_threads(arguments.threads);
  GroupSettings group;  // without NCCL: vectors go through files, nothing but counts is exchanged
  group.timeout_seconds = arguments.timeout_seconds;
  group.timeout_setting = "--timeout";
  const std::unique_ptr<Communicator> communicator = join_as_rank(env, std::move(group));
  install_stop_signals();
  try {
    std::optional<CorpusReader> reader;
    if (env.rank == 0) reader.emplace(open_corpus(corpus));
    const std::unique_ptr<const VectorEncoder> encoder = open_encoder(env);
    if (reader) return build_as_first_rank(*reader, *encoder, arguments, *communicator);
    return help_dense_index(*communicator, *encoder, is_stop_asked).was_stopped ? stopped_code()
                                                                                : kExitOk;
  } catch (const std::exception& error) {
    if (communicator->size() == 1) throw;
    communicator->announce_failure(error.what());
    end_rank(env, error);
  }
}

}  // namespace clara::tools
