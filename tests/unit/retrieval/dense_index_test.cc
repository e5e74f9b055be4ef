// Building a dense index: what is kept, what is refused, what damage says.
#include "clara/retrieval/dense_index.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "tests/support/rank_threads.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/retrieval/dense_passage_search.h"
#include "clara/retrieval/index_folder.h"
#include "clara/retrieval/text_encoder.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::Each;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kEncoder = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/retrieval/cls";

class DenseIndex : public ::testing::Test {
 protected:
  void write_corpus(std::int64_t count, const std::string& first = "the tower of paris 0") {
    std::string rows;
    for (std::int64_t i = 0; i < count; ++i) {
      const Json row = {{"id", i},
                        {"title", "Tower"},
                        {"text", i == 0 ? first : "the tower of paris " + std::to_string(i)}};
      rows += row.dump() + "\n";
    }
    write_text(place_ / "corpus.jsonl", rows);
  }

  static DenseIndexSettings of_four() {
    DenseIndexSettings settings;
    settings.shard_passages = 4;
    return settings;
  }

  DenseIndexReport build(const std::string& name, const DenseIndexSettings& settings = of_four(),
                         const DenseIndexHooks& hooks = {}) {
    return build_with(encoder_, name, settings, hooks);
  }
  DenseIndexReport build_with(const TextEncoder& encoder, const std::string& name,
                              const DenseIndexSettings& settings = of_four(),
                              const DenseIndexHooks& hooks = {}) {
    CorpusReader corpus({(place_ / "corpus.jsonl").string()});
    return build_dense_index(corpus, place_ / name, encoder, settings, hooks);
  }

  /// Builds until `num_shards` of four passages are there.
  void build_part(const std::string& name, std::int64_t num_shards) {
    std::int64_t done = 0;
    DenseIndexHooks hooks;
    hooks.on_encoded = [&](std::int64_t now, std::int64_t) { done = now; };
    hooks.should_stop = [&] { return done == 4 * num_shards; };
    const DenseIndexReport report = build(name, of_four(), hooks);
    EXPECT_TRUE(report.was_stopped);
    EXPECT_EQ(report.num_done, 4 * num_shards);
    EXPECT_FALSE(fs::exists(place_ / name));
  }

  void expect_equal_folders(const std::string& a, const std::string& b) const {
    for (const auto& entry : fs::directory_iterator(place_ / a)) {
      EXPECT_EQ(read_file(place_ / b / entry.path().filename()), read_file(entry.path()))
          << entry.path();
    }
  }

  TextEncoder encoder_{kEncoder};
  TemporaryFolder place_;
};

TEST_F(DenseIndex, AStoppedRunGoesOnWhereItStopped) {
  write_corpus(14);
  EXPECT_EQ(build("whole").num_encoded, 14);
  build_part("parts", 2);
  const DenseIndexReport report = build("parts");
  EXPECT_EQ(report.num_passages, 14);
  EXPECT_EQ(report.num_done, 14);
  EXPECT_EQ(report.num_encoded, 6);
  expect_equal_folders("whole", "parts");
  EXPECT_EQ(place_.size(), 3U);  // nothing hidden is left
}

TEST_F(DenseIndex, AStopWhilePassagesAreReadLeavesNothing) {
  write_corpus(14);
  DenseIndexHooks hooks;
  hooks.should_stop = [] { return true; };
  EXPECT_TRUE(build("index", of_four(), hooks).was_stopped);
  EXPECT_EQ(place_.size(), 1U);
}

TEST_F(DenseIndex, ShardsBehindAGapAreKeptAndGoneOnWith) {
  write_corpus(14);
  build("whole");
  build_part("parts", 3);
  const fs::path unfinished = place_ / ".parts.unfinished";
  fs::remove(unfinished / vector_shard_name(0));
  fs::remove(unfinished / vector_shard_name(1));
  DenseIndexHooks stops;
  stops.should_stop = [] { return true; };
  EXPECT_TRUE(build("parts", of_four(), stops).was_stopped);
  EXPECT_TRUE(fs::exists(unfinished / vector_shard_name(2)));
  EXPECT_EQ(build("parts").num_encoded, 10);
  expect_equal_folders("whole", "parts");
}

TEST_F(DenseIndex, ForceRemovesForeignShardsBehindAGap) {
  write_corpus(14);
  build("whole");
  write_corpus(30, "another first passage");
  build_part("index", 7);
  const fs::path unfinished = place_ / ".index.unfinished";
  for (const std::int64_t shard : {0, 1, 4}) fs::remove(unfinished / vector_shard_name(shard));
  write_corpus(14);
  EXPECT_THAT(data_error_of([&] { build("index"); }), HasSubstr("another corpus"));
  DenseIndexSettings settings = of_four();
  settings.replaces = true;
  EXPECT_EQ(build("index", settings).num_encoded, 14);
  expect_equal_folders("whole", "index");
  expect_equal_folders("index", "whole");
}

TEST_F(DenseIndex, ForeignShardsBehindTheLastAreRefusedToo) {
  write_corpus(30, "another first passage");
  build_part("index", 7);
  const fs::path unfinished = place_ / ".index.unfinished";
  for (std::int64_t shard = 0; shard < 5; ++shard)
    fs::remove(unfinished / vector_shard_name(shard));
  write_corpus(14);  // four shards
  EXPECT_THAT(data_error_of([&] { build("index"); }), HasSubstr("another corpus"));
  EXPECT_TRUE(fs::exists(unfinished / vector_shard_name(5)));
}

/// Builds on several ranks, each with an encoder and hooks of its own.
class DenseIndexOnRanks : public DenseIndex {
 protected:
  using HooksOf = std::function<DenseIndexHooks(std::int64_t rank)>;

  /// Returns the ranks' reports.
  std::vector<DenseIndexReport> build_on(std::int64_t size, const std::string& name,
                                         const HooksOf& hooks_of = nullptr) {
    std::vector<DenseIndexReport> reports(static_cast<std::size_t>(size));
    ends_ = testing::run_ranks(size, [&](Communicator& group) {
      const TextEncoder encoder(kEncoder, settings_of_rank_[group.rank()]);
      DenseIndexHooks hooks = hooks_of ? hooks_of(group.rank()) : DenseIndexHooks{};
      hooks.communicator = &group;
      reports[static_cast<std::size_t>(group.rank())] =
          group.rank() == 0 ? build_with(encoder, name, of_four(), hooks)
                            : help_dense_index(group, encoder, hooks.should_stop);
    });
    return reports;
  }

  std::size_t num_unfinished(const std::string& name) const {
    return list_vector_shards(place_ / ("." + name + ".unfinished")).size();
  }

  std::map<std::int64_t, EncoderSettings> settings_of_rank_ = {{0, {}}, {1, {}}, {2, {}}};
  testing::RankEnds ends_;
};

TEST_F(DenseIndexOnRanks, ShareTheShards) {
  write_corpus(30);  // eight shards: three, three and two
  build("whole");
  std::vector<std::int64_t> told;
  bool was_alone = false;
  const std::vector<DenseIndexReport> reports = build_on(3, "ranks", [&](std::int64_t) {
    DenseIndexHooks hooks;
    hooks.on_encoded = [&](std::int64_t done, std::int64_t all) {
      EXPECT_EQ(all, 30);
      told.push_back(done);
    };
    hooks.on_alone = [&] { was_alone = true; };
    return hooks;
  });
  EXPECT_THAT(ends_, Each(""));
  expect_equal_folders("whole", "ranks");
  for (const DenseIndexReport& report : reports) {
    EXPECT_EQ(report.num_encoded, 30);
    EXPECT_EQ(report.num_done, 30);
    EXPECT_FALSE(report.was_stopped);
  }
  EXPECT_TRUE(was_alone);
  EXPECT_TRUE(std::is_sorted(told.begin(), told.end()));
  EXPECT_THAT(told, ::testing::IsSupersetOf({0, 12, 24, 30}));
  EXPECT_EQ(place_.size(), 3U);  // nothing hidden is left
}

TEST_F(DenseIndexOnRanks, AStopOnOneRankStopsAllAndItGoesOnWithAnotherNumber) {
  write_corpus(30);
  build("whole");
  const auto rank_1_stops_after_a_shard = [](std::int64_t rank) {
    DenseIndexHooks hooks;
    const auto num_asked = std::make_shared<int>(0);
    if (rank == 1) hooks.should_stop = [num_asked] { return ++*num_asked == 2; };
    return hooks;
  };
  for (const DenseIndexReport& report : build_on(3, "ranks", rank_1_stops_after_a_shard)) {
    EXPECT_TRUE(report.was_stopped);
    EXPECT_EQ(report.num_encoded, 20);  // three shards, then two
  }
  EXPECT_THAT(ends_, Each(""));
  EXPECT_FALSE(fs::exists(place_ / "ranks"));
  EXPECT_EQ(num_unfinished("ranks"), 5U);
  EXPECT_EQ(build_on(2, "ranks")[1].num_encoded, 10);
  EXPECT_THAT(ends_, Each(""));
  expect_equal_folders("whole", "ranks");
}

TEST_F(DenseIndexOnRanks, AFailureEndsAllInTheSameRound) {
  write_corpus(200);  // fifty shards
  build_on(3, "ranks", [](std::int64_t rank) {
    DenseIndexHooks hooks;
    const auto num_asked = std::make_shared<int>(0);
    hooks.should_stop = [rank, num_asked]() -> bool {
      if (rank == 1 && ++*num_asked == 3) throw DataError("a broken disk");
      return false;
    };
    return hooks;
  });
  EXPECT_THAT(ends_, Each(HasSubstr("a broken disk")));
  EXPECT_THAT(ends_[0], HasSubstr("rank 1 of 3"));
  EXPECT_LE(num_unfinished("ranks"), 8U);  // two rounds, and what the others did in the third
}

TEST_F(DenseIndexOnRanks, UnlikeEncodersAreRefused) {
  write_corpus(30);
  settings_of_rank_[2].max_tokens = 50;
  build_on(3, "ranks");
  EXPECT_THAT(ends_, Each(HasSubstr("same model: that of rank 2 is not that of rank 0")));
  EXPECT_EQ(place_.size(), 1U);
}

TEST_F(DenseIndexOnRanks, WhatRank0RefusesIsToldToAll) {
  write_corpus(30);
  build("there");
  build_on(2, "there");
  EXPECT_THAT(ends_, Each(HasSubstr("is there already")));
  EXPECT_EQ(place_.size(), 2U);
}

TEST_F(DenseIndex, UnfinishedWorkOfAnotherSourceIsRefusedUnlessForced) {
  write_corpus(14);
  build_part("index", 2);
  write_corpus(14, "another first passage");
  EXPECT_THAT(data_error_of([&] { build("index"); }),
              AllOf(HasSubstr("another corpus"), HasSubstr("--force")));
  write_corpus(14);
  EncoderSettings longer;
  longer.max_tokens = 50;
  EXPECT_THAT(data_error_of([&] { build_with(TextEncoder(kEncoder, longer), "index"); }),
              HasSubstr("another encoder"));
  DenseIndexSettings settings = of_four();
  settings.dtype = TensorDtype::kF32;
  EXPECT_THAT(data_error_of([&] { build("index", settings); }), HasSubstr("other settings"));
  settings.document_format = DocumentFormat::kMlClara;
  settings.replaces = true;
  EXPECT_EQ(build("index", settings).num_encoded, 14);
}

TEST_F(DenseIndex, AnotherKindNeedsNoSecondEncoding) {
  write_corpus(120);
  build("index");
  EXPECT_THROW(build("index"), ConfigError);
  DenseIndexSettings settings = of_four();
  settings.replaces = true;
  settings.index.kind = VectorIndexKind::kIvfFlat;
  EXPECT_EQ(build("index", settings).num_encoded, 0);
  EXPECT_EQ(DensePassageSearch(place_ / "index").index().settings().kind,
            VectorIndexKind::kIvfFlat);
  write_corpus(120, "another first passage");
  EXPECT_EQ(build("index", settings).num_encoded, 120);
}

TEST_F(DenseIndex, DamagedVectorsAreNotTakenOver) {
  write_corpus(14);
  build("index");
  const fs::path shard = place_ / "index" / vector_shard_name(1);
  std::string content = read_file(shard);
  content.back() ^= 1;
  std::ofstream(shard, std::ios::binary) << content;
  DenseIndexSettings settings = of_four();
  settings.replaces = true;
  EXPECT_EQ(build("index", settings).num_encoded, 14);
}

TEST_F(DenseIndex, WhatDoesNotFitIsToldBeforeAnythingIsEncoded) {
  write_corpus(14);
  DenseIndexSettings settings = of_four();
  settings.index.kind = VectorIndexKind::kIvfFlat;
  settings.index.nlist = 15;
  DenseIndexHooks hooks;
  hooks.on_encoded = [](std::int64_t, std::int64_t) { ADD_FAILURE() << "encoded"; };
  EXPECT_THROW(build("index", settings, hooks), ConfigError);
  settings = of_four();
  settings.shard_passages = -1;
  EXPECT_THROW(build("index", settings), ConfigError);
  write_text(place_ / "corpus.jsonl", R"({"id": 1, "text": " "})");
  EXPECT_THAT(data_error_of([&] { build("index"); }), HasSubstr("expected passages"));
  write_text(place_ / "corpus.jsonl",
             "{\"id\": 1, \"text\": \"a\"}\n{\"id\": 1, \"text\": \"b\"}\n");
  EXPECT_THAT(data_error_of([&] { build("other"); }),
              HasSubstr("found \"1\" for passages 1 and 2"));
  EXPECT_EQ(place_.size(), 1U);
}

TEST_F(DenseIndex, DamageIsNamed) {
  write_corpus(60);
  DenseIndexSettings settings = of_four();
  settings.index.kind = VectorIndexKind::kIvfFlat;
  build("index", settings);
  const fs::path folder = place_ / "index";
  const auto opened = [&](bool verifies = true) {
    DenseSearchSettings search;
    search.verifies_content = verifies;
    return data_error_of([&] { DensePassageSearch(folder, search); });
  };
  EXPECT_NO_THROW(DensePassageSearch{folder});
  const std::string index = read_file(folder / "index.faiss");
  std::string changed = index;
  changed[changed.size() / 2] ^= 1;
  std::ofstream(folder / "index.faiss", std::ios::binary) << changed;
  EXPECT_THAT(opened(), AllOf(HasSubstr("index.faiss"), HasSubstr("checksum")));
  std::ofstream(folder / "index.faiss", std::ios::binary) << index.substr(0, index.size() - 1);
  EXPECT_THAT(opened(false), AllOf(HasSubstr("index.faiss"), HasSubstr("bytes")));
  std::ofstream(folder / "index.faiss", std::ios::binary) << index;
  EXPECT_NO_THROW(DensePassageSearch{folder});
  const Json manifest = Json::parse(read_file(folder / kIndexManifestName));
  const std::pair<const char*, Json> changes[] = {{"/kind", "bm25"},
                                                  {"/counts/passages", 59},
                                                  {"/counts/dimension", 25},
                                                  {"/names/index", "tree"},
                                                  {"/names/seed", "x"},
                                                  {"/names/pooling", "max"},
                                                  {"/names/document_format", "x"},
                                                  {"/settings/nlist", 1.5},
                                                  {"/settings/max_tokens", -1}};
  for (const auto& [pointer, value] : changes) {
    Json altered = manifest;
    altered[Json::json_pointer(pointer)] = value;
    std::ofstream(folder / kIndexManifestName) << altered.dump();
    EXPECT_THAT(opened(), HasSubstr("index")) << pointer;
  }
  for (const char* part : {"names", "settings", "counts"}) {
    for (const auto& [name, value] : manifest[part].items()) {
      if (name == "reduced_dimension") continue;  // indexes of earlier releases do not say it
      Json altered = manifest;
      altered[part].erase(name);
      std::ofstream(folder / kIndexManifestName) << altered.dump();
      EXPECT_THAT(opened(), HasSubstr("expected " + name)) << part;
    }
  }
}

TEST_F(DenseIndex, AnIndexOfAnEarlierReleaseOpensAndFindsTheSame) {
  write_corpus(60);
  DenseIndexSettings settings = of_four();
  settings.index.kind = VectorIndexKind::kIvfFlat;
  build("index", settings);
  const auto found = DensePassageSearch(place_ / "index").search({"tower"}, 5);
  Json manifest = Json::parse(read_file(place_ / "index" / kIndexManifestName));
  manifest["settings"].erase("reduced_dimension");
  std::ofstream(place_ / "index" / kIndexManifestName) << manifest.dump();
  DensePassageSearch opened(place_ / "index");
  EXPECT_EQ(opened.search({"tower"}, 5), found);
  EXPECT_EQ(opened.index().settings().reduced_dimension, opened.encoder().dimension());
  DenseSearchSettings wider;
  wider.nprobe = 1;
  EXPECT_EQ(DensePassageSearch(place_ / "index", wider).index().settings().nprobe, 1);
}

TEST_F(DenseIndex, EveryTypeOfTheVectorsGivesTheOrderOfTheExactOnesButForRounding) {
  write_corpus(40);
  DenseIndexSettings settings = of_four();
  settings.dtype = TensorDtype::kF32;
  build("exact", settings);
  const auto exact = DensePassageSearch(place_ / "exact").search({"the tower of paris 7"}, 40);
  for (const auto& [dtype, name, tolerance] :
       {std::tuple(TensorDtype::kF16, "half", 1e-3), std::tuple(TensorDtype::kBF16, "bf16", 8e-3),
        std::tuple(TensorDtype::kI8, "int8", 8e-3)}) {
    settings.dtype = dtype;
    build(name, settings);
    const auto found = DensePassageSearch(place_ / name).search({"the tower of paris 7"}, 40);
    std::map<std::int64_t, double> scores;
    for (const SearchHit& hit : exact[0]) scores[hit.passage] = hit.score;
    ASSERT_EQ(found[0].size(), 40U);
    for (const SearchHit& hit : found[0])
      EXPECT_NEAR(hit.score, scores.at(hit.passage), tolerance) << name;
  }
}

}  // namespace
}  // namespace clara
