// FAISS makes and searches the approximate indexes; exact search and re-scoring read the shards.
#include "clara/retrieval/vector_index.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <optional>
#include <random>
#include <set>
#include <utility>

#include "retrieval/vector_reduction.h"
#include <ATen/Parallel.h>
#include <faiss/IndexFlat.h>
#include <faiss/IndexHNSW.h>
#include <faiss/IndexIVFFlat.h>
#include <faiss/IndexIVFPQ.h>
#include <faiss/IndexPreTransform.h>
#include <faiss/VectorTransform.h>
#include <faiss/impl/FaissException.h>
#include <faiss/index_io.h>
#include <omp.h>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using torch::Tensor;

constexpr const char* kIndexName = "index.faiss";
constexpr const char* kUnfinishedName = ".index.faiss";  // while it is written
// Rows that are read or compared at a time, unless they are long: then so many numbers.
constexpr std::int64_t kBlockRows = 16384;
constexpr std::int64_t kBlockNumbers = std::int64_t{1} << 25;
constexpr std::int64_t kLongVector = 4096;     // dimension above which vectors are reduced
constexpr std::int64_t kMostComponents = 512;  // where no number is given
constexpr std::int64_t kMostAsked = 4096;      // components of which memory and time can be had
constexpr std::int64_t kTrainPerComponent = 8;
// Queries below which exact search multiplies where the vectors lie: for these few, making the
// block float32 would cost more than the products.
constexpr std::int64_t kFewQueries = 4;
constexpr std::int64_t kFewestPerCell = 39;  // training vectors, below which FAISS warns
constexpr std::int64_t kTrainPerCell = 64;
constexpr std::int64_t kFewestTraining = 50000;
constexpr int kRotationIterations = 20;  // of OPQ
constexpr std::int64_t kRecallQueries = 100;
constexpr std::int64_t kMostCompared = 10'000'000'000;  // numbers: of minutes, not of hours

constexpr std::pair<VectorIndexKind, const char*> kNames[] = {{VectorIndexKind::kFlat, "flat"},
                                                              {VectorIndexKind::kIvfFlat, "ivf"},
                                                              {VectorIndexKind::kIvfPq, "ivf-pq"},
                                                              {VectorIndexKind::kHnsw, "hnsw"}};

void require(bool holds, const std::string& message) {
  if (!holds) throw ConfigError(message);
}

void check_range(const char* name, std::int64_t value, std::int64_t least, std::int64_t most) {
  require(value >= least && value <= most,
          std::string(name) + ": expected " + std::to_string(least) + " to " +
              std::to_string(most) + ", found " + std::to_string(value));
}

bool has_cells(VectorIndexKind kind) {
  return kind == VectorIndexKind::kIvfFlat || kind == VectorIndexKind::kIvfPq;
}

// FAISS asks OpenMP for its threads: as many as LibTorch uses, and afterwards as before.
class OpenMpThreads {
 public:
  OpenMpThreads() : before_(omp_get_max_threads()) { omp_set_num_threads(at::get_num_threads()); }
  OpenMpThreads(const OpenMpThreads&) = delete;
  OpenMpThreads& operator=(const OpenMpThreads&) = delete;
  ~OpenMpThreads() { omp_set_num_threads(before_); }

 private:
  int before_;
};

std::int64_t block_rows(std::int64_t dimension) {
  return std::clamp<std::int64_t>(kBlockNumbers / dimension, 1, kBlockRows);
}

bool is_reduced(const VectorIndexSettings& settings, std::int64_t dimension) {
  return settings.reduced_dimension > 0 && settings.reduced_dimension < dimension;
}

bool rescores(const VectorIndexSettings& settings, std::int64_t dimension) {
  return settings.kind == VectorIndexKind::kIvfPq || is_reduced(settings, dimension);
}

// `count` of `total` rows, in order. Selection sampling (Knuth, algorithm S).
std::vector<std::int64_t> sampled_rows(std::int64_t count, std::int64_t total, std::uint64_t seed) {
  std::mt19937_64 generator(seed);
  std::vector<std::int64_t> rows;
  for (std::int64_t row = 0; row < total && std::ssize(rows) < count; ++row) {
    const auto left = static_cast<std::uint64_t>(total - row);
    if (generator() % left < static_cast<std::uint64_t>(count - std::ssize(rows))) {
      rows.push_back(row);
    }
  }
  return rows;
}

// [count, D], or [count, reduced_dimension] where there is a reduction: a seeded sample, in the
// order of the rows.
Tensor training_sample(const VectorShards& shards, std::int64_t count, std::uint64_t seed,
                       const VectorReduction* reduction) {
  const std::int64_t total = shards.num_vectors(), dimension = shards.dimension();
  const std::vector<std::int64_t> chosen = sampled_rows(count, total, seed);
  Tensor sample = torch::empty({count, reduction != nullptr ? reduction->dimension() : dimension});
  Tensor block = torch::empty({std::min(count, block_rows(dimension)), dimension});
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t n = std::min(count - done, block.size(0));
    for (std::int64_t i = 0; i < n; ++i) {
      block[i].copy_(shards.rows(chosen[static_cast<std::size_t>(done + i)], 1)[0]);
    }
    const Tensor rows = block.narrow(0, 0, n);
    sample.narrow(0, done, n).copy_(reduction != nullptr ? reduction->passages(rows) : rows);
    done += n;
  }
  return sample;
}

std::unique_ptr<faiss::Index> make_cells(const VectorIndexSettings& settings,
                                         std::int64_t dimension) {
  auto cells = std::make_unique<faiss::IndexFlatIP>(dimension);
  std::unique_ptr<faiss::IndexIVF> index;
  const auto nlist = static_cast<std::size_t>(settings.nlist);
  const auto seed = static_cast<int>(settings.seed & 0x7FFFFFFFU);
  if (settings.kind == VectorIndexKind::kIvfFlat) {
    index = std::make_unique<faiss::IndexIVFFlat>(cells.get(), static_cast<std::size_t>(dimension),
                                                  nlist, faiss::METRIC_INNER_PRODUCT);
  } else {
    auto coded = std::make_unique<faiss::IndexIVFPQ>(
        cells.get(), static_cast<std::size_t>(dimension), nlist,
        static_cast<std::size_t>(settings.pq_bytes), static_cast<std::size_t>(settings.pq_bits),
        faiss::METRIC_INNER_PRODUCT);
    coded->pq.cp.seed = seed;
    coded->pq.cp.min_points_per_centroid = 1;
    index = std::move(coded);
  }
  cells.release();
  index->own_fields = true;
  index->cp.seed = seed;
  index->cp.spherical = true;
  index->cp.min_points_per_centroid = 1;
  if (!settings.opq) return index;
  auto rotation = std::make_unique<faiss::OPQMatrix>(static_cast<int>(dimension),
                                                     static_cast<int>(settings.pq_bytes));
  auto rotated = std::make_unique<faiss::IndexPreTransform>(index.get());
  rotation->niter = kRotationIterations;
  rotated->prepend_transform(rotation.release());
  index.release();
  rotated->own_fields = true;
  return rotated;
}

// Trains the rotation of OPQ, if there is one, with codes as the index has them (FAISS would take
// eight bits whatever the index says), then the rest.
void train(faiss::Index& index, const VectorIndexSettings& settings, const Tensor& sample) {
  faiss::OPQMatrix* rotation = nullptr;
  if (auto* rotated = dynamic_cast<faiss::IndexPreTransform*>(&index)) {
    rotation = dynamic_cast<faiss::OPQMatrix*>(rotated->chain.at(0));
  }
  faiss::ProductQuantizer codes(
      static_cast<std::size_t>(index.d),
      settings.pq_bytes > 0 ? static_cast<std::size_t>(settings.pq_bytes) : std::size_t{1},
      static_cast<std::size_t>(settings.pq_bits));
  codes.cp.min_points_per_centroid = 1;
  codes.cp.seed = static_cast<int>(settings.seed & 0x7FFFFFFFU);
  if (rotation != nullptr) rotation->pq = &codes;
  index.train(sample.size(0), sample.const_data_ptr<float>());
  if (rotation != nullptr) rotation->pq = nullptr;
}

std::unique_ptr<faiss::Index> make_index(const VectorIndexSettings& settings,
                                         std::int64_t dimension) {
  if (settings.kind != VectorIndexKind::kHnsw) return make_cells(settings, dimension);
  auto graph = std::make_unique<faiss::IndexHNSWFlat>(static_cast<int>(dimension),
                                                      static_cast<int>(settings.hnsw_links),
                                                      faiss::METRIC_INNER_PRODUCT);
  graph->hnsw.efConstruction = static_cast<int>(settings.ef_construction);
  return graph;
}

void write_faiss_index(const fs::path& folder, const faiss::Index& index) {
  const fs::path path = folder / kIndexName;
  const fs::path temporary = folder / kUnfinishedName;
  try {
    faiss::write_index(&index, temporary.c_str());
  } catch (const faiss::FaissException& error) {
    std::error_code ignored;
    fs::remove(temporary, ignored);
    throw Error(path.string() + ": the index cannot be written: " + error.what());
  }
  sync_path(temporary);
  fs::rename(temporary, path);
  sync_path(folder);
}

// A strict order whatever the scores are: what is no number comes last.
bool is_better(const VectorHit& a, const VectorHit& b) {
  if (std::isnan(a.score) != std::isnan(b.score)) return std::isnan(b.score);
  if (std::isnan(a.score)) return a.row < b.row;
  return a.score != b.score ? a.score > b.score : a.row < b.row;
}

// The best k of hits, best first.
void keep_best(std::vector<VectorHit>& hits, std::int64_t k) {
  const auto count = std::min(static_cast<std::ptrdiff_t>(k), std::ssize(hits));
  std::partial_sort(hits.begin(), hits.begin() + count, hits.end(), is_better);
  hits.resize(static_cast<std::size_t>(count));
}

Tensor checked_queries(const Tensor& queries, std::int64_t dimension, std::int64_t k) {
  if (queries.dim() != 2 || queries.size(1) != dimension || k < 1) {
    throw Error("a search needs queries [Q, " + std::to_string(dimension) +
                "] and k of at least 1");
  }
  return queries.to(torch::kFloat32).contiguous();
}

template <typename F>
void for_each_query(std::int64_t count, const F& task) {
  at::parallel_for(0, count, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t q = begin; q < end; ++q) task(q);
  });
}

// [Q, n]: inner products of queries with the rows from `first` on.
Tensor block_scores(const VectorShards& shards, const Tensor& queries, std::int64_t first,
                    std::int64_t n) {
  if (queries.size(0) >= kFewQueries) return torch::mm(queries, shards.rows(first, n).t());
  Tensor scores = torch::empty({queries.size(0), n});
  for (std::int64_t q = 0; q < queries.size(0); ++q) {
    const float* query = queries.const_data_ptr<float>() + q * shards.dimension();
    float* out = scores.mutable_data_ptr<float>() + q * n;
    at::parallel_for(0, n, 64, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) out[i] = shards.inner_product(query, first + i);
    });
  }
  return scores;
}

}  // namespace

std::string to_string(VectorIndexKind kind) {
  for (const auto& [value, name] : kNames) {
    if (value == kind) return name;
  }
  return "";
}

VectorIndexKind parse_vector_index_kind(const std::string& name) {
  for (const auto& [kind, known] : kNames) {
    if (name == known) return kind;
  }
  throw ConfigError("kind: expected flat, ivf, ivf-pq or hnsw, found \"" + name + "\"");
}

VectorIndexSettings resolve(const VectorIndexSettings& settings, std::int64_t num_vectors,
                            std::int64_t dimension) {
  VectorIndexSettings out = settings;
  const auto belongs_to = [&](const char* name, std::int64_t value, bool has_it) {
    require(value == 0 || has_it, std::string(name) + ": expected another kind of index with it, " +
                                      "found " + to_string(out.kind));
  };
  belongs_to("nlist", out.nlist, has_cells(out.kind));
  belongs_to("nprobe", out.nprobe, has_cells(out.kind));
  belongs_to("training_vectors", out.training_vectors, has_cells(out.kind));
  belongs_to("pq_bytes", out.pq_bytes, out.kind == VectorIndexKind::kIvfPq);
  belongs_to("opq", out.opq ? 1 : 0, out.kind == VectorIndexKind::kIvfPq);
  belongs_to("reduced_dimension", out.reduced_dimension, out.kind != VectorIndexKind::kFlat);
  const std::int64_t full_dimension = dimension;
  if (out.kind != VectorIndexKind::kFlat) {
    if (out.reduced_dimension == 0) {
      const std::int64_t most = std::min(kMostComponents, num_vectors / 2);
      out.reduced_dimension =
          dimension <= kLongVector || most < 1
              ? dimension
              : static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(most)));
    }
    if (out.reduced_dimension != dimension)
      check_range("reduced_dimension", out.reduced_dimension, 1, std::min(dimension, kMostAsked));
    require(out.reduced_dimension == dimension || out.reduced_dimension < num_vectors,
            "reduced_dimension: expected less than the " + std::to_string(num_vectors) +
                " vectors, or " + std::to_string(dimension) + " for none, found " +
                std::to_string(out.reduced_dimension));
    dimension = out.reduced_dimension;
  }
  const bool has_rescore = out.kind == VectorIndexKind::kIvfPq || dimension < full_dimension;
  belongs_to("rescore", out.rescore, has_rescore);
  if (has_rescore) {
    if (out.rescore == 0) out.rescore = 10;
    check_range("rescore", out.rescore, 1, 1000);
  }
  if (has_cells(out.kind)) {
    if (out.nlist == 0) {
      const auto wanted =
          static_cast<std::int64_t>(4 * std::sqrt(static_cast<double>(num_vectors)));
      out.nlist = std::max<std::int64_t>(1, std::min(wanted, num_vectors / kFewestPerCell));
    }
    check_range("nlist", out.nlist, 1, num_vectors);
    if (out.nprobe == 0) {
      out.nprobe = std::min(out.nlist, std::clamp<std::int64_t>(out.nlist / 32, 8, 256));
    }
    check_range("nprobe", out.nprobe, 1, out.nlist);
    std::int64_t fewest = std::max(out.nlist, std::int64_t{1});
    if (out.kind == VectorIndexKind::kIvfPq) {
      check_range("pq_bits", out.pq_bits, 4, 8);
      for (std::int64_t m = std::min<std::int64_t>(64, dimension); out.pq_bytes == 0; --m) {
        if (dimension % m == 0) out.pq_bytes = m;
      }
      check_range("pq_bytes", out.pq_bytes, 1, dimension);
      require(dimension % out.pq_bytes == 0, "pq_bytes: expected a divisor of the dimension " +
                                                 std::to_string(dimension) + ", found " +
                                                 std::to_string(out.pq_bytes));
      fewest = std::max(fewest, std::int64_t{1} << out.pq_bits);
      require(num_vectors >= fewest, "kind: ivf-pq needs at least " + std::to_string(fewest) +
                                         " vectors for codes of " + std::to_string(out.pq_bits) +
                                         " bits, found " + std::to_string(num_vectors) +
                                         "; take flat");
    }
    if (out.training_vectors == 0) {
      out.training_vectors =
          std::min(num_vectors, std::max(kTrainPerCell * out.nlist, kFewestTraining));
    }
    check_range("training_vectors", out.training_vectors, fewest, num_vectors);
  }
  if (out.kind == VectorIndexKind::kHnsw) {
    check_range("hnsw_links", out.hnsw_links, 2, 512);
    check_range("ef_construction", out.ef_construction, 1, 1 << 16);
    check_range("ef_search", out.ef_search, 1, 1 << 16);
  }
  return out;
}

VectorIndexSettings VectorIndex::build(const fs::path& folder,
                                       const VectorIndexSettings& settings) {
  const VectorShards shards(folder);
  const VectorIndexSettings resolved = resolve(settings, shards.num_vectors(), shards.dimension());
  fs::remove(folder / kIndexName);
  VectorReduction::remove(folder);
  if (resolved.kind == VectorIndexKind::kFlat) return resolved;
  const torch::NoGradGuard no_grad;
  std::optional<VectorReduction> reduction;
  if (is_reduced(resolved, shards.dimension())) {
    const std::int64_t count =
        std::min(shards.num_vectors(), kTrainPerComponent * resolved.reduced_dimension);
    // The sample goes in as it is made: it is centred in place.
    reduction = VectorReduction::principal_components(
        training_sample(shards, count, resolved.seed, nullptr), resolved.reduced_dimension);
    reduction->write(folder);
  }
  const VectorReduction* reduced = reduction ? &*reduction : nullptr;
  const OpenMpThreads threads;
  try {
    const std::unique_ptr<faiss::Index> index = make_index(resolved, resolved.reduced_dimension);
    if (has_cells(resolved.kind)) {
      train(*index, resolved,
            training_sample(shards, resolved.training_vectors, resolved.seed, reduced));
    }
    const std::int64_t step = block_rows(shards.dimension());
    for (std::int64_t row = 0; row < shards.num_vectors(); row += step) {
      Tensor block = shards.rows(row, std::min(step, shards.num_vectors() - row));
      if (reduced != nullptr) block = reduced->passages(block);
      index->add(block.size(0), block.const_data_ptr<float>());
    }
    write_faiss_index(folder, *index);
  } catch (const faiss::FaissException& error) {
    throw Error(folder.string() + ": the index cannot be built: " + error.what());
  }
  return resolved;
}

struct VectorIndex::Parts {
  VectorShards shards;
  VectorIndexSettings settings;
  std::unique_ptr<faiss::Index> index;  // null: flat
  std::optional<VectorReduction> reduction;
  std::int64_t candidates_per_hit = 1;

  /// How widely FAISS searches.
  void apply_settings() {
    faiss::Index* inner = index.get();
    if (auto* rotated = dynamic_cast<faiss::IndexPreTransform*>(inner)) inner = rotated->index;
    if (auto* cells = dynamic_cast<faiss::IndexIVF*>(inner)) {
      cells->nprobe = static_cast<std::size_t>(settings.nprobe);
    }
    if (auto* graph = dynamic_cast<faiss::IndexHNSW*>(inner)) {
      graph->hnsw.efSearch = static_cast<int>(settings.ef_search);
    }
    candidates_per_hit = rescores(settings, shards.dimension()) ? settings.rescore : 1;
  }
};

VectorIndex::VectorIndex(const fs::path& folder, const VectorIndexSettings& settings) {
  VectorShards shards(folder);
  std::unique_ptr<faiss::Index> index;
  std::optional<VectorReduction> reduction;
  std::int64_t dimension = shards.dimension();  // of what FAISS has
  if (is_reduced(settings, dimension) && settings.kind != VectorIndexKind::kFlat) {
    reduction = VectorReduction::read(folder, settings.reduced_dimension, dimension);
    dimension = settings.reduced_dimension;
  }
  if (settings.kind != VectorIndexKind::kFlat) {
    const fs::path path = folder / kIndexName;
    if (!fs::exists(path)) throw DataError(path.string() + ": not found; build the index again");
    try {
      // FAISS maps the cells' contents; a graph it has to read.
      index.reset(
          faiss::read_index(path.c_str(), has_cells(settings.kind) ? faiss::IO_FLAG_MMAP : 0));
    } catch (const std::exception& error) {
      throw DataError(path.string() + ": not an index that FAISS reads: " + error.what());
    }
    if (index->ntotal != shards.num_vectors() || index->d != dimension) {
      throw DataError(path.string() + ": expected " + std::to_string(shards.num_vectors()) +
                      " vectors of " + std::to_string(dimension) + ", found " +
                      std::to_string(index->ntotal) + " of " + std::to_string(index->d) +
                      "; build the index again");
    }
  }
  parts_ = std::make_unique<Parts>(
      Parts{std::move(shards), settings, std::move(index), std::move(reduction), 1});
  parts_->apply_settings();
}

VectorIndex::VectorIndex(VectorIndex&&) noexcept = default;
VectorIndex& VectorIndex::operator=(VectorIndex&&) noexcept = default;
VectorIndex::~VectorIndex() = default;

const VectorShards& VectorIndex::vectors() const { return parts_->shards; }
const VectorIndexSettings& VectorIndex::settings() const { return parts_->settings; }

void VectorIndex::set_search(std::int64_t nprobe, std::int64_t rescore, std::int64_t ef_search) {
  VectorIndexSettings changed = parts_->settings;
  if (nprobe != 0) changed.nprobe = nprobe;
  if (rescore != 0) changed.rescore = rescore;
  if (ef_search != 0) changed.ef_search = ef_search;
  require(
      ef_search == 0 || changed.kind == VectorIndexKind::kHnsw,
      "ef_search: expected an index of the kind hnsw with it, found " + to_string(changed.kind));
  parts_->settings = resolve(changed, parts_->shards.num_vectors(), parts_->shards.dimension());
  parts_->apply_settings();
}

std::vector<std::vector<VectorHit>> VectorIndex::search(const Tensor& queries_QD,
                                                        std::int64_t k) const {
  if (!parts_->index) return search_exact(queries_QD, k);
  const VectorShards& shards = parts_->shards;
  const Tensor queries = checked_queries(queries_QD, shards.dimension(), k);
  const std::int64_t count = queries.size(0);
  const std::int64_t wanted = std::min(
      shards.num_vectors(), std::min(k, shards.num_vectors()) * parts_->candidates_per_hit);
  std::vector<float> scores(static_cast<std::size_t>(count * wanted));
  std::vector<faiss::Index::idx_t> rows(scores.size());
  {
    const torch::NoGradGuard no_grad;
    const Tensor reduced = parts_->reduction ? parts_->reduction->queries(queries) : queries;
    const OpenMpThreads threads;
    parts_->index->search(count, reduced.const_data_ptr<float>(), wanted, scores.data(),
                          rows.data());
  }
  std::vector<std::vector<VectorHit>> out(static_cast<std::size_t>(count));
  for_each_query(count, [&](std::int64_t q) {
    const float* query = queries.const_data_ptr<float>() + q * shards.dimension();
    std::vector<VectorHit>& hits = out[static_cast<std::size_t>(q)];
    for (std::int64_t i = 0; i < wanted; ++i) {
      const std::int64_t row = rows[static_cast<std::size_t>(q * wanted + i)];
      if (row >= 0) hits.push_back({row, shards.inner_product(query, row)});
    }
    keep_best(hits, k);
  });
  return out;
}

std::vector<std::vector<VectorHit>> VectorIndex::search_exact(const Tensor& queries_QD,
                                                              std::int64_t k) const {
  const torch::NoGradGuard no_grad;
  const VectorShards& shards = parts_->shards;
  const Tensor queries = checked_queries(queries_QD, shards.dimension(), k);
  const std::int64_t count = queries.size(0);
  std::vector<std::vector<VectorHit>> out(static_cast<std::size_t>(count));
  const std::int64_t step = block_rows(shards.dimension());
  for (std::int64_t first = 0; first < shards.num_vectors(); first += step) {
    const std::int64_t n = std::min(step, shards.num_vectors() - first);
    const Tensor scores_QB = block_scores(shards, queries, first, n);
    for_each_query(count, [&](std::int64_t q) {
      const float* scores = scores_QB.const_data_ptr<float>() + q * n;
      std::vector<VectorHit>& hits = out[static_cast<std::size_t>(q)];
      // A heap with the worst hit on top.
      for (std::int64_t i = 0; i < n; ++i) {
        const VectorHit hit{first + i, scores[i]};
        if (std::ssize(hits) < k) {
          hits.push_back(hit);
          std::push_heap(hits.begin(), hits.end(), is_better);
        } else if (is_better(hit, hits.front())) {
          std::pop_heap(hits.begin(), hits.end(), is_better);
          hits.back() = hit;
          std::push_heap(hits.begin(), hits.end(), is_better);
        }
      }
    });
  }
  for_each_query(count, [&](std::int64_t q) {
    const float* query = queries.const_data_ptr<float>() + q * shards.dimension();
    std::vector<VectorHit>& hits = out[static_cast<std::size_t>(q)];
    // The same sum as in every other search, whatever the block's shape did to its rounding.
    for (VectorHit& hit : hits) hit.score = shards.inner_product(query, hit.row);
    keep_best(hits, k);
  });
  return out;
}

std::int64_t default_recall_queries(std::int64_t num_vectors, std::int64_t dimension) {
  return num_vectors <= kMostCompared / dimension ? kRecallQueries : 0;
}

double sampled_recall(const VectorIndex& index, std::int64_t num_queries, std::int64_t k,
                      std::uint64_t seed) {
  const VectorShards& shards = index.vectors();
  const std::int64_t count = std::min(num_queries, shards.num_vectors());
  // Not the rows that the index was trained on, which the seed itself draws.
  const std::uint64_t own_seed = derive_seed(seed, "recall sample");
  const std::vector<std::int64_t> rows = sampled_rows(count, shards.num_vectors(), own_seed);
  const Tensor queries = training_sample(shards, count, own_seed, nullptr);
  const auto others = [&](std::vector<std::vector<VectorHit>> hits) {
    for (std::size_t q = 0; q < hits.size(); ++q) {
      std::erase_if(hits[q], [&](const VectorHit& hit) { return hit.row == rows[q]; });
      if (std::ssize(hits[q]) > k) hits[q].resize(static_cast<std::size_t>(k));
    }
    return hits;
  };
  return recall(others(index.search(queries, k + 1)), others(index.search_exact(queries, k + 1)));
}

double recall(const std::vector<std::vector<VectorHit>>& found,
              const std::vector<std::vector<VectorHit>>& exact) {
  std::int64_t hits = 0, total = 0;
  for (std::size_t q = 0; q < exact.size(); ++q) {
    std::set<std::int64_t> rows;
    for (const VectorHit& hit : found.at(q)) rows.insert(hit.row);
    for (const VectorHit& hit : exact[q]) hits += rows.contains(hit.row) ? 1 : 0;
    total += std::ssize(exact[q]);
  }
  return total == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(total);
}

}  // namespace clara
