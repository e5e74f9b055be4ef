// Shards of vectors and the indexes over them: exactness, recall, ties, damage.
#include "clara/retrieval/vector_index.h"

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/process_memory.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::int64_t kDimension = 16;

/// Unit vectors around a few centres, as those of texts are.
torch::Tensor clustered_vectors(std::int64_t count) {
  torch::manual_seed(11);
  const torch::Tensor centres = torch::randn({20, kDimension});
  const torch::Tensor vectors = centres.index_select(0, torch::randint(20, {count})) +
                                0.6 * torch::randn({count, kDimension});
  return vectors / vectors.norm(2, 1, true);
}

VectorSource source_of(TensorDtype dtype = TensorDtype::kF32, std::int64_t shard_rows = 300) {
  return {hash_bytes("corpus"), hash_bytes("encoder"), kDimension, shard_rows, dtype};
}

void write_shards(const fs::path& folder, const torch::Tensor& vectors,
                  const VectorSource& source) {
  for (std::int64_t first = 0, shard = 0; first < vectors.size(0);
       first += source.shard_rows, ++shard) {
    write_vector_shard(
        folder, shard, source,
        vectors.narrow(0, first, std::min(source.shard_rows, vectors.size(0) - first)));
  }
}

VectorIndexSettings settings_of(VectorIndexKind kind) {
  VectorIndexSettings settings;
  settings.kind = kind;
  settings.pq_bits = 6;
  return settings;
}

VectorIndex built(const fs::path& folder, const VectorIndexSettings& settings) {
  return VectorIndex(folder, VectorIndex::build(folder, settings));
}

template <typename F>
std::string error_of(const F& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(VectorShards, RowsComeBackAcrossFiles) {
  const torch::Tensor vectors = clustered_vectors(700);
  for (const auto& [dtype, type] :
       {std::pair(TensorDtype::kF32, torch::kFloat32), std::pair(TensorDtype::kF16, torch::kHalf),
        std::pair(TensorDtype::kBF16, torch::kBFloat16)}) {
    const TemporaryFolder folder;
    write_shards(folder.path(), vectors, source_of(dtype));
    const VectorShards shards(folder.path());
    EXPECT_EQ(shards.num_vectors(), 700);
    EXPECT_EQ(shards.num_shards(), 3);
    const torch::Tensor stored = vectors.to(type).to(torch::kFloat32);
    EXPECT_TRUE(torch::equal(shards.rows(250, 400), stored.narrow(0, 250, 400)));
    const torch::Tensor query = vectors[5].contiguous();
    EXPECT_NEAR(shards.inner_product(query.const_data_ptr<float>(), 650),
                (query * stored[650]).sum().item<float>(), 1e-6);
  }
}

TEST(VectorShards, Int8IsWithinHalfAStepOfItsBlock) {
  // 150 numbers: two blocks of 64 and one of 22; magnitudes that differ from block to block.
  torch::manual_seed(3);
  torch::Tensor vectors = torch::randn({9, 150});
  vectors.narrow(1, 64, 64).mul_(100);
  vectors.narrow(1, 128, 22).zero_();
  vectors[4][70] = -3000;
  VectorSource source = source_of(TensorDtype::kI8, 4);
  source.dimension = 150;
  const TemporaryFolder folder;
  write_shards(folder.path(), vectors, source);
  const VectorShards shards(folder.path());
  EXPECT_EQ(shards.vector_bytes(), 150 + 3 * 2);
  const torch::Tensor stored = shards.rows(0, 9);
  for (const auto& [begin, count] : {std::pair(0, 64), std::pair(64, 64), std::pair(128, 22)}) {
    const torch::Tensor block = vectors.narrow(1, begin, count);
    // The scale, a bfloat16, is off by 2^-9 of itself at most: a quarter of a step at the largest.
    const torch::Tensor step = block.abs().amax(1, true) / 127;
    const torch::Tensor difference = (stored.narrow(1, begin, count) - block).abs();
    EXPECT_TRUE((difference <= step * 0.51).all().item<bool>()) << begin;
  }
  torch::Tensor query = torch::randn({150});
  for (std::int64_t row = 0; row < 9; ++row) {
    const float expected = (query * stored[row]).sum().item<float>();
    EXPECT_NEAR(shards.inner_product(query.const_data_ptr<float>(), row), expected,
                1e-5 * (query.abs() * stored[row].abs()).sum().item<float>());
  }
}

TEST(VectorShards, NamesWhatDoesNotFit) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of([&] { VectorShards{folder.path()}; }), HasSubstr("no vectors are there"));
  write_shards(folder.path(), clustered_vectors(700), source_of());
  VectorSource other = source_of();
  other.encoder = hash_bytes("another");
  EXPECT_TRUE(has_vector_shard(folder.path(), 0, source_of()));
  EXPECT_FALSE(has_vector_shard(folder.path(), 3, source_of()));
  EXPECT_THAT(error_of([&] { has_vector_shard(folder.path(), 0, other); }),
              AllOf(HasSubstr("vectors_000000.safetensors"), HasSubstr("another encoder"),
                    HasSubstr("--force")));
  other = source_of();
  other.corpus = hash_bytes("another");
  EXPECT_THAT(error_of([&] { has_vector_shard(folder.path(), 0, other); }),
              HasSubstr("another corpus"));
  write_vector_shard(folder.path(), 1, source_of(), clustered_vectors(10));
  EXPECT_THAT(
      error_of([&] { VectorShards{folder.path()}; }),
      AllOf(HasSubstr("vectors_000001"), HasSubstr("expected 300 vectors"), HasSubstr("10")));
  std::ofstream(folder / "vectors_000001.safetensors") << "torn";
  EXPECT_THAT(error_of([&] { VectorShards{folder.path()}; }), HasSubstr("vectors_000001"));
}

TEST(VectorIndex, ExactSearchEqualsSorting) {
  const torch::Tensor vectors = clustered_vectors(700), queries = clustered_vectors(9);
  const TemporaryFolder folder;
  write_shards(folder.path(), vectors, source_of());
  const VectorIndex index = built(folder.path(), {});
  const auto hits = index.search(queries, 25);
  const auto [scores, order] = torch::mm(queries, vectors.t()).sort(1, /*descending=*/true);
  ASSERT_EQ(hits.size(), 9U);
  for (std::size_t q = 0; q < hits.size(); ++q) {
    ASSERT_EQ(hits[q].size(), 25U);
    for (std::size_t i = 0; i < hits[q].size(); ++i) {
      const auto row = static_cast<std::int64_t>(q), column = static_cast<std::int64_t>(i);
      EXPECT_EQ(hits[q][i].row, order[row][column].item<std::int64_t>());
      EXPECT_NEAR(hits[q][i].score, scores[row][column].item<float>(), 1e-6);
    }
  }
  EXPECT_EQ(index.search(queries, 5000)[0].size(), 700U);
}

TEST(VectorIndex, OneQueryAloneFindsWhatItFindsAmongOthers) {
  const torch::Tensor queries = clustered_vectors(9);
  for (const TensorDtype dtype :
       {TensorDtype::kF32, TensorDtype::kF16, TensorDtype::kBF16, TensorDtype::kI8}) {
    const TemporaryFolder folder;
    write_shards(folder.path(), clustered_vectors(700), source_of(dtype));
    const VectorIndex index = built(folder.path(), {});
    const auto together = index.search(queries, 25);
    for (std::int64_t q = 0; q < queries.size(0); ++q)
      EXPECT_EQ(index.search(queries.narrow(0, q, 1), 25)[0],
                together[static_cast<std::size_t>(q)]);
  }
}

TEST(VectorIndex, OfEqualScoresTheLowerRowComesFirst) {
  const torch::Tensor one = clustered_vectors(1);
  for (const auto kind : {VectorIndexKind::kFlat, VectorIndexKind::kIvfFlat}) {
    const TemporaryFolder folder;
    write_shards(folder.path(), one.repeat({650, 1}), source_of());
    VectorIndexSettings settings = settings_of(kind);
    settings.nlist = kind == VectorIndexKind::kFlat ? 0 : 1;
    const auto hits = built(folder.path(), settings).search(one, 650);
    for (std::int64_t i = 0; i < 650; ++i) EXPECT_EQ(hits[0][static_cast<std::size_t>(i)].row, i);
  }
}

TEST(VectorIndex, WhatIsNoNumberComesLastAndHidesNothing) {
  torch::Tensor vectors = clustered_vectors(650);
  const torch::Tensor queries = clustered_vectors(5);
  const TemporaryFolder whole, holed;
  write_shards(whole.path(), vectors, source_of());
  for (const std::int64_t row : {0, 301, 302, 640}) vectors[row].fill_(NAN);
  write_shards(holed.path(), vectors, source_of());
  const auto expected = built(whole.path(), {}).search(queries, 650);
  const auto found = built(holed.path(), {}).search(queries, 650);
  for (std::size_t q = 0; q < found.size(); ++q) {
    std::vector<VectorHit> finite = expected[q];
    std::erase_if(finite, [&](const VectorHit& hit) {
      return std::isnan(vectors[hit.row][0].item<float>());
    });
    ASSERT_EQ(found[q].size(), 650U);
    EXPECT_EQ(std::vector<VectorHit>(found[q].begin(), found[q].begin() + 646), finite);
    EXPECT_EQ(found[q][646].row, 0);
    EXPECT_EQ(found[q][649].row, 640);
    EXPECT_EQ(built(holed.path(), {}).search(queries, 20)[q],
              std::vector<VectorHit>(finite.begin(), finite.begin() + 20));
  }
}

TEST(VectorIndex, ApproximateKindsFindMostOfWhatExactSearchFinds) {
  const torch::Tensor vectors = clustered_vectors(4000), queries = clustered_vectors(50);
  for (const auto kind :
       {VectorIndexKind::kIvfFlat, VectorIndexKind::kIvfPq, VectorIndexKind::kHnsw}) {
    for (const bool opq : {false, true}) {
      if (opq && kind != VectorIndexKind::kIvfPq) continue;
      const TemporaryFolder folder;
      write_shards(folder.path(), vectors, source_of(TensorDtype::kF16));
      VectorIndexSettings settings = settings_of(kind);
      settings.opq = opq;
      const VectorIndexSettings resolved = VectorIndex::build(folder.path(), settings);
      const VectorIndex index(folder.path(), resolved);
      const auto exact = index.search_exact(queries, 10), found = index.search(queries, 10);
      EXPECT_GT(recall(found, exact), 0.8) << to_string(kind) << opq;
      // Scores are exact whatever found them.
      for (std::size_t q = 0; q < found.size(); ++q) {
        for (const VectorHit& hit : found[q]) {
          for (const VectorHit& other : exact[q]) {
            if (hit.row == other.row) {
              EXPECT_EQ(hit.score, other.score);
            }
          }
        }
      }
      EXPECT_EQ(VectorIndex(folder.path(), resolved).search(queries, 10), found);
    }
  }
}

TEST(VectorIndex, ReducedVectorsFindWhatExactSearchFinds) {
  // Vectors of 96 numbers in a narrow cone, most of whose variance is in few directions: as
  // latents.
  torch::manual_seed(5);
  const torch::Tensor spread = torch::randn({12, 96}), cone = 6 * torch::randn({1, 96});
  const auto latents = [&](std::int64_t count) {
    const torch::Tensor vectors =
        cone + torch::mm(torch::randn({count, 12}), spread) + 0.1 * torch::randn({count, 96});
    return vectors / vectors.norm(2, 1, true);
  };
  const torch::Tensor vectors = latents(2000), queries = latents(40);
  VectorSource source = source_of(TensorDtype::kBF16);
  source.dimension = 96;
  for (const auto kind :
       {VectorIndexKind::kIvfFlat, VectorIndexKind::kIvfPq, VectorIndexKind::kHnsw}) {
    const TemporaryFolder folder;
    write_shards(folder.path(), vectors, source);
    VectorIndexSettings settings = settings_of(kind);
    settings.reduced_dimension = 16;
    if (kind != VectorIndexKind::kHnsw) settings.nlist = 16;
    VectorIndex index = built(folder.path(), settings);
    EXPECT_TRUE(fs::exists(folder / "reduction.safetensors"));
    const auto exact = index.search_exact(queries, 10);
    EXPECT_GT(recall(index.search(queries, 10), exact), 0.9) << to_string(kind);
    EXPECT_GT(sampled_recall(index, 50, 10, 1), 0.9) << to_string(kind);
    // As many candidates as there are vectors: what is left of the approximation is nothing.
    if (kind != VectorIndexKind::kHnsw) {
      index.set_search(index.settings().nlist, 200, 0);
      EXPECT_EQ(index.search(queries, 10), exact) << to_string(kind);
    }
    // A kind without a reduction leaves no file behind.
    VectorIndex::build(folder.path(), {});
    EXPECT_FALSE(fs::exists(folder / "reduction.safetensors"));
    EXPECT_THAT(error_of([&] { VectorIndex(folder.path(), index.settings()); }),
                HasSubstr("reduction.safetensors"));
  }
}

TEST(VectorIndex, ExactSearchRecallsItsOwnSampleWholly) {
  const TemporaryFolder folder;
  write_shards(folder.path(), clustered_vectors(700), source_of());
  EXPECT_EQ(sampled_recall(built(folder.path(), {}), 30, 10, 1), 1.0);
  VectorIndex narrow = built(folder.path(), settings_of(VectorIndexKind::kIvfFlat));
  narrow.set_search(1, 0, 0);
  const double one = sampled_recall(narrow, 1000, 10, 1);
  EXPECT_LT(one, 1.0);
  EXPECT_GT(one, 0.2);
  EXPECT_EQ(sampled_recall(narrow, 30, 10, 1), sampled_recall(narrow, 30, 10, 1));
}

TEST(VectorIndex, RecallIsMeasuredUnaskedWhereThatIsCheap) {
  EXPECT_EQ(default_recall_queries(10'000'000, 1000), 100);
  EXPECT_EQ(default_recall_queries(10'000'001, 1000), 0);
  EXPECT_EQ(default_recall_queries(21'015'324, 65536), 0);
}

TEST(VectorIndex, LookingIntoAllCellsIsExact) {
  const TemporaryFolder folder;
  write_shards(folder.path(), clustered_vectors(2000), source_of());
  VectorIndex index = built(folder.path(), settings_of(VectorIndexKind::kIvfFlat));
  const torch::Tensor queries = clustered_vectors(20);
  index.set_search(1, 0, 0);
  const double narrow = recall(index.search(queries, 10), index.search_exact(queries, 10));
  index.set_search(index.settings().nlist, 0, 0);
  EXPECT_EQ(index.search(queries, 10), index.search_exact(queries, 10));
  EXPECT_LE(narrow, 1.0);
  EXPECT_THROW(index.set_search(index.settings().nlist + 1, 0, 0), ConfigError);
  // Of other kinds.
  EXPECT_THROW(index.set_search(0, 5, 0), ConfigError);
  EXPECT_THROW(index.set_search(0, 0, 5), ConfigError);
}

TEST(VectorIndex, CellsStayInTheirFileUntilTheyAreRead) {
  // 40 MB of vectors, again in the cells: neither is read into memory when the index is opened.
  constexpr std::int64_t kCount = 20'000, kWide = 512;
  torch::manual_seed(3);
  const TemporaryFolder folder;
  VectorSource source = source_of();
  source.dimension = kWide;
  source.shard_rows = kCount;
  write_shards(folder.path(), torch::randn({kCount, kWide}), source);
  VectorIndexSettings settings = settings_of(VectorIndexKind::kIvfFlat);
  settings.nlist = 64;
  settings.training_vectors = 64 * 39;
  const VectorIndexSettings resolved = VectorIndex::build(folder.path(), settings);
  const double size = static_cast<double>(fs::file_size(folder / "index.faiss"));
  ASSERT_GT(size, 40e6);

  const auto resident = [] {
    return testing::status_bytes("RssAnon") + testing::status_bytes("RssFile");
  };
  malloc_trim(0);  // what build() freed would hide what opening takes
  const double before = resident();
  VectorIndex index(folder.path(), resolved);
  EXPECT_LT(resident() - before, 0.2 * size);
  // A search of half of the cells copies none of them.
  const double anonymous = testing::status_bytes("RssAnon");
  index.set_search(32, 0, 0);
  EXPECT_EQ(index.search(torch::randn({1, kWide}), 5)[0].size(), 5U);
  EXPECT_LT(testing::status_bytes("RssAnon") - anonymous, 0.2 * size);
}

TEST(VectorIndex, TheSameSeedGivesTheSameIndex) {
  const torch::Tensor vectors = clustered_vectors(1500);
  std::string bytes;
  for (int run = 0; run < 2; ++run) {
    const TemporaryFolder folder;
    write_shards(folder.path(), vectors, source_of());
    VectorIndexSettings settings = settings_of(VectorIndexKind::kIvfPq);
    settings.training_vectors = 500;
    VectorIndex::build(folder.path(), settings);
    const std::string now = read_file(folder / "index.faiss");
    if (run > 0) {
      EXPECT_EQ(now, bytes);
    }
    bytes = now;
  }
}

TEST(VectorIndex, FilesThatDoNotBelongTogetherAreNamed) {
  const TemporaryFolder folder, other;
  write_shards(folder.path(), clustered_vectors(700), source_of());
  write_shards(other.path(), clustered_vectors(699), source_of());
  const VectorIndexSettings settings =
      VectorIndex::build(folder.path(), settings_of(VectorIndexKind::kIvfFlat));
  VectorIndex::build(other.path(), settings_of(VectorIndexKind::kIvfFlat));
  const auto opened = [&] { return error_of([&] { VectorIndex(folder.path(), settings); }); };
  EXPECT_EQ(opened(), "no error");
  fs::copy_file(other / "index.faiss", folder / "index.faiss",
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(opened(), AllOf(HasSubstr("index.faiss"), HasSubstr("expected 700 vectors"),
                              HasSubstr("found 699")));
  std::ofstream(folder / "index.faiss") << "torn";
  EXPECT_THAT(opened(), AllOf(HasSubstr("index.faiss"), HasSubstr("not an index")));
  fs::remove(folder / "index.faiss");
  EXPECT_THAT(opened(), AllOf(HasSubstr("index.faiss"), HasSubstr("not found")));
}

TEST(VectorIndex, SettingsAreCheckedByName) {
  const auto error = [](VectorIndexKind kind, auto change, std::int64_t vectors = 1000) {
    VectorIndexSettings settings;
    settings.kind = kind;
    change(settings);
    return error_of([&] { resolve(settings, vectors, kDimension); });
  };
  EXPECT_THAT(error(VectorIndexKind::kIvfFlat, [](auto& s) { s.nlist = 1001; }),
              HasSubstr("nlist"));
  EXPECT_THAT(error(VectorIndexKind::kIvfFlat, [](auto& s) { s.nprobe = 1001; }),
              HasSubstr("nprobe"));
  EXPECT_THAT(error(VectorIndexKind::kIvfPq, [](auto& s) { s.pq_bytes = 5; }),
              AllOf(HasSubstr("pq_bytes"), HasSubstr("16")));
  EXPECT_THAT(error(
                  VectorIndexKind::kIvfPq, [](auto&) {}, 200),
              HasSubstr("256 vectors"));
  EXPECT_THAT(error(VectorIndexKind::kFlat, [](auto& s) { s.opq = true; }), HasSubstr("opq"));
  EXPECT_THAT(error(VectorIndexKind::kHnsw, [](auto& s) { s.nlist = 5; }),
              AllOf(HasSubstr("nlist"), HasSubstr("hnsw")));
  EXPECT_THAT(error(VectorIndexKind::kIvfFlat, [](auto& s) { s.rescore = 5; }),
              HasSubstr("rescore"));
  EXPECT_THAT(error(VectorIndexKind::kHnsw, [](auto& s) { s.hnsw_links = 1; }),
              HasSubstr("hnsw_links"));
  EXPECT_THAT(error(VectorIndexKind::kFlat, [](auto& s) { s.reduced_dimension = 5; }),
              HasSubstr("reduced_dimension"));
  EXPECT_THAT(error(VectorIndexKind::kHnsw, [](auto& s) { s.reduced_dimension = 17; }),
              HasSubstr("reduced_dimension: expected 1 to 16"));
  EXPECT_THAT(error(
                  VectorIndexKind::kHnsw, [](auto& s) { s.reduced_dimension = 12; }, 12),
              HasSubstr("12 vectors"));
  EXPECT_THAT(error(VectorIndexKind::kIvfPq,
                    [](auto& s) {
                      s.reduced_dimension = 6;
                      s.pq_bytes = 4;
                    }),
              HasSubstr("divisor of the dimension 6"));
  EXPECT_THROW(parse_vector_index_kind("lsh"), ConfigError);
  const VectorIndexSettings of_latents =
      resolve(settings_of(VectorIndexKind::kIvfPq), 21'000'000, 65536);
  EXPECT_EQ(of_latents.reduced_dimension, 512);
  EXPECT_EQ(of_latents.rescore, 10);
  EXPECT_EQ(resolve(of_latents, 21'000'000, 65536), of_latents);
  VectorIndexSettings asked = settings_of(VectorIndexKind::kIvfPq);
  for (const std::int64_t components : {4096, 65536}) {
    asked.reduced_dimension = components;
    EXPECT_EQ(resolve(asked, 21'000'000, 65536).reduced_dimension, components);
  }
  asked.reduced_dimension = 4097;
  EXPECT_THAT(error_of([&] { resolve(asked, 21'000'000, 65536); }),
              AllOf(HasSubstr("reduced_dimension: expected 1 to 4096"), HasSubstr("4097")));
  const VectorIndexSettings resolved =
      resolve(settings_of(VectorIndexKind::kIvfPq), 21'000'000, 384);
  EXPECT_EQ(resolved.nlist, 18330);
  EXPECT_EQ(resolved.nprobe, 256);
  EXPECT_EQ(resolved.pq_bytes, 64);
}

}  // namespace
}  // namespace clara
