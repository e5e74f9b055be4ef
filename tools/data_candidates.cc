// clara-data candidates: its arguments, a progress bar by bytes, the summary on stderr.
#include "tools/data_candidates.h"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "tools/data_progress.h"
#include "tools/exit_codes.h"
#include "tools/model_place.h"
#include "tools/use_threads.h"

#include "clara/common/error.h"
#include "clara/data/document_format.h"
#include "clara/data/records.h"
#include "clara/eval/latent_encoder.h"
#include "clara/eval/retrieve_candidates.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/open_passage_search.h"
#include "clara/retrieval/reranked_search.h"
#include "clara/retrieval/vector_encoder.h"

namespace clara::tools {
namespace {

struct CandidateArguments {
  std::string data, index, output;
  std::int64_t top = CandidateSettings{}.num_candidates;
  bool oracle = false;
  bool in_benchmark = false;
  std::int64_t hard_negatives = 0;
  std::string document_format;  // empty: as usual_document_format says
  PassageSearchSettings search;
  std::string encoder;
  std::string checkpoint;  // of a latent index; empty: where it was
  ModelPlace place;        // of the same
  std::string rerank;      // folder of a cross-encoder; empty: none
  RerankSettings reranking;
  std::int32_t num_threads = 0;
  std::uint64_t seed = CandidateSettings{}.seed;
  std::string on_bad_record = "stop";
  bool no_verify = false;
  bool force = false;
};

std::unique_ptr<const VectorEncoder> open_encoder(const std::filesystem::path& folder,
                                                  const CandidateArguments& arguments) {
  LatentEncoderSettings settings;
  settings.checkpoint = arguments.checkpoint;
  settings.base = arguments.place.base;
  settings.device = arguments.place.device();
  settings.dtype = arguments.place.dtype();
  auto encoder = open_latent_encoder(folder, settings);
  if (!encoder->has_query_reasoner()) {
    std::cerr << "warning: the checkpoint has no trained query reasoner; its compressor reads the "
                 "questions\n";
  }
  return encoder;
}

void refuse_model_options(const CandidateArguments& arguments) {
  const ModelPlace usual;
  const std::pair<const char*, bool> given[] = {
      {"checkpoint", !arguments.checkpoint.empty()},
      {"base", !arguments.place.base.empty()},
      {"device", arguments.place.device_name != usual.device_name},
      {"dtype", arguments.place.dtype_name != usual.dtype_name}};
  for (const auto& [name, is_given] : given) {
    if (!is_given) continue;
    throw ConfigError(std::string("--") + name +
                      ": expected an index of the kind latent with it, " + "found " +
                      arguments.index + " of the kind " + index_kind(arguments.index));
  }
}

// Latents are of documents in one format: candidates in another would not be what was found.
std::string usual_document_format(const std::filesystem::path& index) {
  if (index_kind(index) != kLatentKind) return to_string(DocumentFormat::kTitleNewline);
  const IndexManifest manifest = open_index_folder(index, kLatentKind, /*verifies_content=*/false);
  const auto found = manifest.names.find("document_format");
  return found == manifest.names.end() ? to_string(DocumentFormat::kTitleNewline) : found->second;
}

std::unique_ptr<const PassageSearch> open_index(const CandidateArguments& arguments) {
  PassageSearchSettings settings = arguments.search;
  settings.bm25.num_threads = arguments.num_threads;
  settings.bm25.verifies_content = !arguments.no_verify;
  settings.dense.encoder = arguments.encoder;
  settings.dense.verifies_content = !arguments.no_verify;
  if (index_kind(arguments.index) == kLatentKind) {
    settings.open_latent_encoder = [&](const std::filesystem::path& folder) {
      return open_encoder(folder, arguments);
    };
  } else {
    refuse_model_options(arguments);
  }
  std::unique_ptr<const PassageSearch> index = open_passage_search(arguments.index, settings);
  if (arguments.rerank.empty()) return index;
  const std::int64_t wanted = std::max(arguments.top, arguments.hard_negatives);
  if (arguments.reranking.depth < wanted) {
    throw ConfigError("--rerank-depth: expected at least the " + std::to_string(wanted) +
                      " passages that are wanted, found " +
                      std::to_string(arguments.reranking.depth));
  }
  RerankSettings reranking = arguments.reranking;
  reranking.document_format = parse_document_format(arguments.document_format);
  return std::make_unique<RerankedSearch>(std::move(index), CrossEncoder(arguments.rerank),
                                          reranking);
}

int find_candidates(CandidateArguments arguments) {
  if (arguments.document_format.empty())
    arguments.document_format = usual_document_format(arguments.index);
  CandidateSettings settings;
  if (arguments.oracle) settings.mode = CandidateMode::kOracle;
  if (arguments.in_benchmark) settings.mode = CandidateMode::kInBenchmark;
  if (arguments.hard_negatives > 0) settings.mode = CandidateMode::kHardNegatives;
  settings.num_candidates = arguments.top;
  settings.num_hard_negatives = arguments.hard_negatives;
  settings.document_format = parse_document_format(arguments.document_format);
  settings.seed = arguments.seed;
  settings.skips_bad_rows = arguments.on_bad_record == "skip";
  settings.replaces = arguments.force;
  use_threads(arguments.num_threads);
  const std::unique_ptr<const PassageSearch> index = open_index(arguments);
  FileProgress bar("questions");
  const CandidateReport report = retrieve_candidates(
      arguments.data, arguments.output, *index, settings,
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
  command->add_option("--index", arguments->index, "folder of clara-data index")->required();
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
                   "how title and text become a document, as data.document_format (default: "
                   "title_newline, of a latent index as it was built)")
      ->check(CLI::IsMember({"title_newline", "ml_clara"}));
  Bm25SearchSettings& bm25 = arguments->search.bm25;
  DenseSearchSettings& dense = arguments->search.dense;
  command->add_option("--k1", bm25.k1, "of BM25 (default: the index's)");
  command->add_option("--b", bm25.b, "of BM25 (default: the index's)");
  command->add_option("--encoder", arguments->encoder,
                      "folder of a dense index's encoder (default: where it was)");
  command->add_option("--checkpoint", arguments->checkpoint,
                      "run, checkpoint or final/ whose query reasoner searches a latent index "
                      "(default: where the one was that it was built with)");
  add_model_place_options(*command, arguments->place);
  command->add_option("--query-prefix", dense.query_prefix,
                      "goes before every question of a dense search (default: as the encoder's "
                      "folder says)");
  command->add_option("--nprobe", dense.nprobe, "cells of ivf and ivf-pq (default: the index's)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--rescore", dense.rescore,
                   "times k passages that are found by codes or components and compared exactly "
                   "(default: the index's)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--ef-search", dense.ef_search,
                   "breadth of a search in hnsw (default: the index's)")
      ->check(CLI::PositiveNumber);
  CLI::Option* rerank = command->add_option(
      "--rerank", arguments->rerank,
      "folder of a cross-encoder (MS-MARCO MiniLM, BGE's rerankers): what was found comes in its "
      "order");
  command
      ->add_option("--rerank-depth", arguments->reranking.depth,
                   "passages that the cross-encoder compares; the others are not found")
      ->needs(rerank)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
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
