// Times the search of an index of vectors, one question at a time, under settings of its own: the
// recall of each against exact search beside its latency. One JSON object on stdout;
// scripts/bench_latent_search.py builds the indexes and draws the curve.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <iostream>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/data/row_source.h"
#include "clara/eval/latent_encoder.h"
#include "clara/retrieval/dense_passage_search.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/vector_index.h"

namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;
using Hits = std::vector<std::vector<clara::VectorHit>>;
using Json = nlohmann::json;

struct Arguments {
  std::string index, reference, questions, checkpoint, base;
  std::vector<std::int64_t> nprobe = {0}, rescore = {0}, ef_search = {0};
  std::int64_t max_questions = 200, k = 20, repeats = 3;
  int threads = 1;
};

double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

std::vector<std::string> read_questions(const Arguments& arguments) {
  const clara::RowSource rows({{arguments.questions, 1.0, 0}}, arguments.max_questions);
  std::vector<std::string> questions;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    questions.push_back(Json::parse(rows.row(i).text).at("question").get<std::string>());
  }
  return questions;
}

/// One question after another, the fastest of the repeats of each; their hits.
template <typename Search>
Json timed(const torch::Tensor& queries, std::int64_t repeats, Hits& hits, const Search& search) {
  const auto count = static_cast<std::size_t>(queries.size(0));
  std::vector<double> best(count, std::numeric_limits<double>::infinity());
  hits.assign(count, {});
  for (std::int64_t repeat = 0; repeat < repeats; ++repeat) {
    for (std::size_t q = 0; q < count; ++q) {
      const torch::Tensor query = queries.narrow(0, static_cast<std::int64_t>(q), 1);
      const Clock::time_point start = Clock::now();
      hits[q] = search(query)[0];
      best[q] = std::min(best[q], milliseconds_since(start));
    }
  }
  double sum = 0;
  for (const double value : best) sum += value;
  std::sort(best.begin(), best.end());
  return {{"ms_mean", sum / static_cast<double>(count)},
          {"ms_median", best[count / 2]},
          {"ms_p95", best[(count * 95) / 100]}};
}

std::unique_ptr<const clara::DensePassageSearch> open_search(const Arguments& arguments) {
  if (clara::index_kind(arguments.index) != clara::kLatentKind)
    return std::make_unique<const clara::DensePassageSearch>(arguments.index);
  clara::LatentEncoderSettings settings;
  settings.checkpoint = arguments.checkpoint;
  settings.base = arguments.base;
  return std::make_unique<const clara::DensePassageSearch>(
      arguments.index, clara::open_latent_encoder(arguments.index, settings));
}

int run(const Arguments& arguments) {
  torch::set_num_threads(arguments.threads);
  const torch::NoGradGuard no_grad;
  const std::vector<std::string> questions = read_questions(arguments);
  torch::Tensor queries;
  clara::VectorIndexSettings settings;
  double encode_ms = 0;
  {
    // Closed again, so that the vectors are mapped once while searches are timed.
    const auto search = open_search(arguments);
    const Clock::time_point start = Clock::now();
    queries = search->encoder().encode_queries(questions);
    encode_ms = milliseconds_since(start) / static_cast<double>(questions.size());
    settings = search->index().settings();
  }

  clara::VectorIndex index(arguments.index, settings);
  Hits exact, found;
  Json exact_time = timed(queries, arguments.repeats, exact, [&](const torch::Tensor& query) {
    return index.search_exact(query, arguments.k);
  });
  if (!arguments.reference.empty())
    exact = clara::VectorIndex(arguments.reference, {}).search_exact(queries, arguments.k);

  Json points = Json::array();
  for (const std::int64_t nprobe : arguments.nprobe) {
    for (const std::int64_t rescore : arguments.rescore) {
      for (const std::int64_t ef_search : arguments.ef_search) {
        index.set_search(nprobe, rescore, ef_search);
        Json point = timed(queries, arguments.repeats, found, [&](const torch::Tensor& query) {
          return index.search(query, arguments.k);
        });
        point["recall"] = clara::recall(found, exact);
        point["nprobe"] = index.settings().nprobe;
        point["rescore"] = index.settings().rescore;
        point["ef_search"] = index.settings().ef_search;
        points.push_back(point);
      }
    }
  }
  std::uint64_t index_bytes = 0;
  for (const char* name : {"index.faiss", "reduction.safetensors"}) {
    const fs::path path = fs::path(arguments.index) / name;
    if (fs::exists(path)) index_bytes += fs::file_size(path);
  }
  std::cout << Json{{"kind", to_string(settings.kind)},
                    {"passages", index.vectors().num_vectors()},
                    {"dimension", index.vectors().dimension()},
                    {"reduced_dimension", settings.reduced_dimension},
                    {"nlist", settings.nlist},
                    {"vector_bytes", index.vectors().vector_bytes()},
                    {"index_bytes", index_bytes},
                    {"questions", questions.size()},
                    {"k", arguments.k},
                    {"threads", arguments.threads},
                    {"encode_ms", encode_ms},
                    {"exact", exact_time},
                    {"points", points}}
                   .dump()
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Recall and latency of an index of vectors.", "clara_vector_search_bench"};
  Arguments arguments;
  app.add_option("--index", arguments.index, "of clara-data index latent or dense")->required();
  app.add_option("--questions", arguments.questions, "records")->required();
  app.add_option("--reference", arguments.reference,
                 "index whose vectors say what is exact (default: --index's own)");
  app.add_option("--checkpoint", arguments.checkpoint, "of a latent index (default: where it was)");
  app.add_option("--base", arguments.base, "of the checkpoint");
  app.add_option("--max-questions", arguments.max_questions, "the first ones; 0 = all")
      ->capture_default_str();
  app.add_option("--k", arguments.k, "passages of a question")->capture_default_str();
  app.add_option("--nprobe", arguments.nprobe, "each of these; 0: the index's; so the others");
  app.add_option("--rescore", arguments.rescore, "times k");
  app.add_option("--ef-search", arguments.ef_search, "of hnsw");
  app.add_option("--repeats", arguments.repeats, "the fastest counts")->capture_default_str();
  app.add_option("--threads", arguments.threads, "of a search")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return run(arguments);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
