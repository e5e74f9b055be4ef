// Building a dense index: what is kept, what is refused, what damage says.
#include "clara/retrieval/dense_index.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <vector>

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
