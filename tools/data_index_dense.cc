// clara-data index dense: its arguments, a progress bar by passages, the summary on stderr.
#include "tools/data_index_dense.h"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <memory>
#include <optional>
#include <string>

#include "tools/corpus_arguments.h"
#include "tools/data_progress.h"
#include "tools/exit_codes.h"
#include "tools/stderr_progress.h"
#include "tools/stop_signals.h"
#include "tools/use_threads.h"

#include "clara/common/progress.h"
#include "clara/data/document_format.h"
#include "clara/retrieval/dense_index.h"

namespace clara::tools {
namespace {

struct DenseArguments {
  CorpusArguments corpus;
  std::string encoder, output;
  std::string kind = "flat";
  std::string pooling;  // empty: as the encoder's folder says
  std::string dtype = "float16";
  std::string document_format = "title_newline";
  std::optional<std::string> passage_prefix;
  EncoderSettings encoding;
  DenseIndexSettings settings;
  int threads = 0;  // 0: all cores
};

std::string in_units(std::uint64_t bytes) {
  const char* const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  for (; value >= 1024 && unit + 1 < std::size(units); ++unit) value /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}

std::string describe(const VectorIndexSettings& index) {
  std::string text = to_string(index.kind);
  if (index.kind == VectorIndexKind::kIvfFlat || index.kind == VectorIndexKind::kIvfPq) {
    text += ", nlist " + std::to_string(index.nlist) + ", nprobe " + std::to_string(index.nprobe);
  }
  if (index.kind == VectorIndexKind::kIvfPq) {
    text += ", " + std::to_string(index.pq_bytes) + " codes of " + std::to_string(index.pq_bits) +
            " bits" + (index.opq ? ", OPQ" : "") + ", rescore " + std::to_string(index.rescore);
  }
  if (index.kind == VectorIndexKind::kHnsw) {
    text +=
        ", links " + std::to_string(index.hnsw_links) + ", ef " + std::to_string(index.ef_search);
  }
  return text;
}

void show(const DenseIndexReport& report, std::int64_t dimension) {
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
  row("index", describe(report.index) + ", " + format_duration(report.index_seconds));
  row("size", in_units(report.num_bytes));
}

int index_dense(DenseArguments arguments) {
  use_threads(arguments.threads);
  if (!arguments.pooling.empty()) arguments.encoding.pooling = parse_pooling(arguments.pooling);
  arguments.encoding.passage_prefix = arguments.passage_prefix;
  DenseIndexSettings& settings = arguments.settings;
  settings.index.kind = parse_vector_index_kind(arguments.kind);
  settings.dtype = arguments.dtype == "float16" ? TensorDtype::kF16 : TensorDtype::kF32;
  settings.document_format = parse_document_format(arguments.document_format);
  CorpusReader corpus = open_corpus(arguments.corpus);
  const TextEncoder encoder(arguments.encoder, arguments.encoding);
  FileProgress reading("passages");
  std::optional<ProgressBar> encoding;
  DenseIndexHooks hooks;
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
  install_stop_signals();
  hooks.should_stop = [] { return stop_signal() != 0; };
  const DenseIndexReport report =
      build_dense_index(corpus, arguments.output, encoder, settings, hooks);
  reading.finish();
  if (encoding) encoding->finish();
  if (report.was_stopped) {
    std::cerr << "stopped by a signal";
    if (report.num_done > 0) std::cerr << " with the vectors of " << report.num_done << " passages";
    std::cerr << "; the same command goes on\n";
    return 128 + stop_signal();
  }
  show_corpus(corpus);
  show(report, encoder.dimension());
  std::cout << arguments.output << "\n";
  return kExitOk;
}

}  // namespace

std::function<int()> add_index_dense_command(CLI::App& index) {
  const auto arguments = std::make_shared<DenseArguments>();
  CLI::App* command = index.add_subcommand(
      "dense",
      "vectors of passages by a BERT-family encoder (BGE, MiniLM, E5), and an index over them; a "
      "run that was killed goes on where it stopped");
  VectorIndexSettings& settings = arguments->settings.index;
  add_corpus_options(*command, arguments->corpus);
  command
      ->add_option("--encoder", arguments->encoder,
                   "Hugging Face or sentence-transformers folder of a BERT encoder")
      ->required();
  command->add_option("--out", arguments->output, "folder to write")->required();
  command->add_option("--kind", arguments->kind, "exact, or approximate with FAISS")
      ->check(CLI::IsMember({"flat", "ivf", "ivf-pq", "hnsw"}))
      ->capture_default_str();
  command->add_option("--nlist", settings.nlist, "cells of ivf and ivf-pq (default: 4 sqrt(N))")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--nprobe", settings.nprobe,
                   "cells that a search looks into (default: nlist / 32, 8 to 256)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--pq-bytes", settings.pq_bytes,
                   "codes of a vector; divides the dimension (default: the largest up to 64)")
      ->check(CLI::PositiveNumber);
  command->add_option("--pq-bits", settings.pq_bits, "bits of a code")
      ->check(CLI::Range(4, 8))
      ->capture_default_str();
  command->add_flag("--opq", settings.opq, "rotate vectors before they are coded (ivf-pq)");
  command
      ->add_option("--rescore", settings.rescore,
                   "times k codes that ivf-pq compares exactly (default: 10)")
      ->check(CLI::PositiveNumber);
  command->add_option("--hnsw-links", settings.hnsw_links, "neighbours of a vector")
      ->check(CLI::Range(2, 512))
      ->capture_default_str();
  command->add_option("--ef-construction", settings.ef_construction, "breadth while building hnsw")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--ef-search", settings.ef_search, "breadth of a search in hnsw")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--seed", settings.seed, "of the sample that ivf and ivf-pq are trained on")
      ->capture_default_str();
  command
      ->add_option("--pooling", arguments->pooling,
                   "cls or mean (default: as 1_Pooling/config.json of the encoder says)")
      ->check(CLI::IsMember({"cls", "mean"}));
  command
      ->add_option("--max-tokens", arguments->encoding.max_tokens,
                   "longer passages are cut (default: as the encoder's folder says)")
      ->check(CLI::PositiveNumber);
  command->add_option("--passage-prefix", arguments->passage_prefix,
                      "goes before every passage (default: as the encoder's folder says)");
  command
      ->add_option("--document-format", arguments->document_format,
                   "how title and text become the passage, as data.document_format")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}))
      ->capture_default_str();
  command->add_option("--dtype", arguments->dtype, "of the stored vectors")
      ->check(CLI::IsMember({"float16", "float32"}))
      ->capture_default_str();
  command
      ->add_option("--shard-passages", arguments->settings.shard_passages,
                   "passages of a file; what a killed run loses at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command
      ->add_option("--batch-tokens", arguments->encoding.batch_tokens,
                   "tokens that are computed together; changes speed alone")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--threads", arguments->threads, "0 = all cores")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag(
      "--force", arguments->settings.replaces,
      "replace an index that is there, and unfinished work of another corpus, encoder "
      "or other settings");
  return [arguments] { return index_dense(*arguments); };
}

}  // namespace clara::tools
