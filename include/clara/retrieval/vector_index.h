// Nearest vectors by inner product: exact, or approximate with FAISS, over the shards of a folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <torch/types.h>

#include "clara/retrieval/vector_shards.h"

namespace clara {

enum class VectorIndexKind {
  kFlat,     ///< exact: every vector is compared
  kIvfFlat,  ///< the vectors of the nearest of `nlist` cells are compared
  kIvfPq,  ///< the same with codes of `pq_bytes` · `pq_bits` / 8 bytes, the best re-scored exactly
  kHnsw,   ///< a graph of neighbours
};

/// "flat", "ivf", "ivf-pq", "hnsw".
std::string to_string(VectorIndexKind kind);
/// Throws ConfigError for another name.
VectorIndexKind parse_vector_index_kind(const std::string& name);

/// 0 stands for a default by the number of vectors; resolve() puts it in.
struct VectorIndexSettings {
  VectorIndexKind kind = VectorIndexKind::kFlat;
  std::int64_t nlist = 0;     ///< cells; default 4·√N, at most N / 39
  std::int64_t nprobe = 0;    ///< cells that a search looks into; default nlist / 32, 8 to 256
  std::int64_t pq_bytes = 0;  ///< sub-vectors (m); a divisor of D; default the largest up to 64
  std::int64_t pq_bits = 8;   ///< of a sub-vector's code: 4 to 8
  bool opq = false;           ///< rotate vectors before they are coded (OPQ)
  /// Principal components that stand for the vectors in cells, codes and graph; D: all of them, the
  /// vectors as they are; else up to 4096. Default D up to 4096; above, the power of two up to 512
  /// and N / 2.
  std::int64_t reduced_dimension = 0;
  /// k times as many are found and re-scored exactly, where codes or components found them; default
  /// 10.
  std::int64_t rescore = 0;
  std::int64_t hnsw_links = 32;        ///< neighbours of a vector (M)
  std::int64_t ef_construction = 200;  ///< breadth of the search while building
  std::int64_t ef_search = 128;        ///< breadth of a search
  std::int64_t training_vectors = 0;   ///< sample that cells and codes are made of; default
                                       ///< 64 · nlist, at least 50,000, at most all
  std::uint64_t seed = 42;             ///< of the sample and of training

  bool operator==(const VectorIndexSettings&) const = default;
};

/// `settings` with its defaults for N vectors of dimension D. Throws ConfigError that names the
/// setting; also one that the kind does not have.
VectorIndexSettings resolve(const VectorIndexSettings& settings, std::int64_t num_vectors,
                            std::int64_t dimension);

struct VectorHit {
  std::int64_t row = 0;
  float score = 0;
  bool operator==(const VectorHit&) const = default;
};

/// Searches need the shards too: they hold what is exact.
class VectorIndex {
 public:
  /// Makes the index of the shards in `folder`: index.faiss (none for kFlat), and
  /// reduction.safetensors where the vectors are reduced. One that is there is replaced. FAISS runs
  /// on LibTorch's number of threads. Returns the settings as resolved. Throws ConfigError,
  /// DataError, Error.
  static VectorIndexSettings build(const std::filesystem::path& folder,
                                   const VectorIndexSettings& settings);

  /// Opens what build() made, with what it returned; mapped where FAISS can. The bytes are trusted:
  /// open_index_folder compares checksums. Throws DataError that names the file: missing, not
  /// FAISS', not of these vectors.
  VectorIndex(const std::filesystem::path& folder, const VectorIndexSettings& settings);
  VectorIndex(VectorIndex&&) noexcept;
  VectorIndex& operator=(VectorIndex&&) noexcept;
  ~VectorIndex();

  const VectorShards& vectors() const;
  const VectorIndexSettings& settings() const;
  /// Sets nprobe, rescore and ef_search for the searches that follow; 0 leaves one as it is. Throws
  /// ConfigError as resolve().
  void set_search(std::int64_t nprobe, std::int64_t rescore, std::int64_t ef_search);

  /// The best `k` (fewer where not as many are found) rows for each of queries [Q, D] float32, best
  /// first; of equal scores the lower row first. Scores are exact inner products with the stored
  /// vectors.
  std::vector<std::vector<VectorHit>> search(const torch::Tensor& queries_QD, std::int64_t k) const;
  /// The same by comparing every vector, whatever the kind.
  std::vector<std::vector<VectorHit>> search_exact(const torch::Tensor& queries_QD,
                                                   std::int64_t k) const;

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// Vectors for sampled_recall() where nothing is asked for: 100, or 0 where the index has more than
/// 10^10 numbers, all of which exact search would read.
std::int64_t default_recall_queries(std::int64_t num_vectors, std::int64_t dimension);

/// recall() of the k nearest others of `num_queries` (at most all) stored vectors, drawn by `seed`,
/// others than training draws. How well passages find passages: questions may lie elsewhere.
double sampled_recall(const VectorIndex& index, std::int64_t num_queries, std::int64_t k,
                      std::uint64_t seed);

/// The share of `exact`'s rows that are in `found`, over all queries.
double recall(const std::vector<std::vector<VectorHit>>& found,
              const std::vector<std::vector<VectorHit>>& exact);

}  // namespace clara
