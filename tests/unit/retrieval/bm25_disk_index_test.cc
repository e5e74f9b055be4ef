// Laws of the index on disk: it scores as the list in memory does, however it was built, and damage
// is seen.
#include "clara/retrieval/bm25_disk_index.h"

#include <algorithm>
#include <string>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/seeds.h"
#include "clara/retrieval/bm25_builder.h"
#include "clara/retrieval/index_folder.h"

namespace clara {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::HasSubstr;

// A passage of drawn words: few that are frequent, many that are rare.
std::string drawn_text(SeedStream& stream, std::uint64_t num_words) {
  std::string text;
  for (std::uint64_t i = 0; i < num_words; ++i) {
    const std::uint64_t range = std::uint64_t{1} << (2 + stream.below(11));
    text += (i == 0 ? "w" : " w") + std::to_string(stream.below(range));
  }
  return text;
}

class Bm25Disk : public ::testing::Test {
 protected:
  // A corpus file of drawn passages; keeps their documents.
  void draw_corpus(std::int64_t num_passages) {
    SeedStream stream(17);
    std::string rows;
    for (std::int64_t i = 0; i < num_passages; ++i) {
      const std::string text = drawn_text(stream, 1 + stream.below(60));
      rows += "{\"id\": " + std::to_string(i) + ", \"title\": \"Title w" + std::to_string(i % 50) +
              "\", \"text\": \"" + text + "\"}\n";
      documents_.push_back("Title w" + std::to_string(i % 50) + "\n" + text);
    }
    write_text(folder_ / "corpus.jsonl", rows);
  }

  Bm25BuildReport build(const std::string& name, const Bm25BuildSettings& settings = {},
                        bool replaces = false) {
    CorpusReader corpus({(folder_ / "corpus.jsonl").string()});
    return build_bm25_index(corpus, folder_ / name, replaces, settings);
  }

  // What Bm25Index says: the k best with a score above 0.
  std::vector<SearchHit> expected(const Bm25Index& index, const std::string& query,
                                  std::size_t k) const {
    const std::vector<double> scores = index.scores(query);
    std::vector<SearchHit> hits;
    for (std::size_t i = 0; i < scores.size(); ++i) {
      if (scores[i] > 0) hits.push_back({static_cast<std::int64_t>(i), scores[i]});
    }
    std::stable_sort(hits.begin(), hits.end(),
                     [](const SearchHit& a, const SearchHit& b) { return a.score > b.score; });
    hits.resize(std::min(hits.size(), k));
    return hits;
  }

  std::string message_of(const std::string& name, bool verifies = true) const {
    return data_error_of([&] {
      const Bm25DiskIndex index(folder_ / name, {{}, {}, 1, verifies});
      index.search({"w0 w1 w2 w3 w5 w8 w13 w100"}, 1000000);
    });
  }

  TemporaryFolder folder_;
  std::vector<std::string> documents_;
};

TEST_F(Bm25Disk, FindsWhatTheListInMemoryFindsToTheBit) {
  draw_corpus(9000);  // several windows
  build("index");
  SeedStream stream(3);
  std::vector<std::string> queries = {"", "absent", "w0", "w1 w1 w2", "title W7"};
  for (int i = 0; i < 60; ++i) queries.push_back(drawn_text(stream, 1 + stream.below(12)));
  for (const Bm25Settings& scoring :
       {Bm25Settings{}, Bm25Settings{0.9, 0.4}, Bm25Settings{0, 0.5}, Bm25Settings{2, 0}}) {
    const Bm25DiskIndex index(folder_ / "index", {scoring.k1, scoring.b, 2});
    const Bm25Index in_memory(documents_, scoring);
    for (const std::int64_t k : {1, 10, 100, 20000}) {
      const auto found = index.search(queries, k);
      ASSERT_EQ(found.size(), queries.size());
      for (std::size_t i = 0; i < queries.size(); ++i) {
        ASSERT_EQ(found[i], expected(in_memory, queries[i], static_cast<std::size_t>(k)))
            << "query \"" << queries[i] << "\", k " << k << ", k1 " << scoring.k1;
      }
    }
  }
}

// tests/fixtures/retrieval/record_bm25_scores.py says how they were recorded.
TEST_F(Bm25Disk, ScoresAreThoseOfBm25sAndRankBm25OnRealPassages) {
  using nlohmann::json;
  const fs::path fixture =
      fs::path(CLARA_SOURCE_DIR) / "tests" / "fixtures" / "retrieval" / "bm25_scores.json";
  const json recorded = json::parse(read_file(fixture));
  std::string rows;
  for (const json& document : recorded["passages"]) {
    const json row = {{"id", std::to_string(rows.size())}, {"text", document}};
    rows += row.dump() + "\n";
  }
  write_text(folder_ / "corpus.jsonl", rows);
  build("index");
  const std::vector<std::string> questions = recorded["questions"];
  for (const json& result : recorded["results"]) {
    const Bm25DiskIndex index(folder_ / "index", {result["k1"], result["b"], 1});
    const auto found = index.search(questions, index.num_passages());
    for (const char* peer : {"bm25s", "rank_bm25"}) {
      for (std::size_t i = 0; i < questions.size(); ++i) {
        std::vector<double> scores(static_cast<std::size_t>(index.num_passages()), 0.0);
        for (const SearchHit& hit : found[i])
          scores[static_cast<std::size_t>(hit.passage)] = hit.score;
        for (std::size_t j = 0; j < scores.size(); ++j) {
          ASSERT_NEAR(scores[j], result[peer][i][j].get<double>(), 1e-5)
              << peer << ", question " << i << ", passage " << j;
        }
      }
    }
  }
}

TEST_F(Bm25Disk, EqualScoresComeInTheOrderOfThePassages) {
  std::string rows;
  for (int i = 0; i < 300; ++i)
    rows += "{\"id\": " + std::to_string(i) + ", \"text\": \"one and the same\"}\n";
  write_text(folder_ / "corpus.jsonl", rows);
  build("index");
  const auto hits = Bm25DiskIndex(folder_ / "index").search({"same and"}, 5)[0];
  ASSERT_EQ(hits.size(), 5U);
  for (std::size_t i = 0; i < hits.size(); ++i)
    EXPECT_EQ(hits[i].passage, static_cast<std::int64_t>(i));
}

TEST_F(Bm25Disk, ManySortedPartsGiveTheSameBytesAsOne) {
  draw_corpus(1000);
  const Bm25BuildReport whole = build("whole");
  Bm25BuildSettings little;
  little.memory_bytes = 20'000;
  const Bm25BuildReport parts = build("parts", little);
  EXPECT_EQ(whole.num_runs, 1);
  EXPECT_GT(parts.num_runs, 20);
  EXPECT_EQ(parts.num_postings, whole.num_postings);
  EXPECT_EQ(parts.num_terms, whole.num_terms);
  std::size_t num_files = 0;
  for (const auto& entry : fs::directory_iterator(folder_ / "whole")) {
    const std::string name = entry.path().filename().string();
    EXPECT_EQ(read_file(entry.path()), read_file(folder_ / "parts" / name)) << name;
    ++num_files;
  }
  EXPECT_EQ(num_files, 8U);
}

TEST_F(Bm25Disk, PassagesAreKept) {
  write_text(
      folder_ / "corpus.jsonl",
      "{\"id\": \"a\", \"title\": \"T\", \"text\": \"one\"}\n{\"id\": \"b\", \"text\": \"two\"}\n");
  Bm25BuildSettings settings;
  settings.scoring = {0.9, 0.4};
  build("index", settings);
  const Bm25DiskIndex index(folder_ / "index");
  EXPECT_EQ(index.num_passages(), 2);
  EXPECT_EQ(index.scoring().k1, 0.9);
  EXPECT_EQ(index.scoring().b, 0.4);
  EXPECT_EQ(index.passages().passage(0).title, "T");
  EXPECT_EQ(index.passages().passage(1).id, "b");
  EXPECT_EQ(index.passages().passage(1).text, "two");
  EXPECT_THROW(index.passages().passage(2), Error);
}

TEST_F(Bm25Disk, AnIdStandsForOnePassage) {
  write_text(folder_ / "corpus.jsonl",
             "{\"id\": \"a\", \"text\": \"one\"}\n{\"id\": \"b\", \"text\": \"two\"}\n"
             "{\"id\": \"a\", \"text\": \"three\"}\n");
  EXPECT_THAT(data_error_of([&] { build("index"); }),
              HasSubstr("found \"a\" for passages 1 and 3 of the corpus"));
  EXPECT_EQ(folder_.size(), 1U) << "something was left behind";
}

TEST_F(Bm25Disk, AFolderIsReplacedOnlyIfToldTo) {
  draw_corpus(10);
  build("index");
  EXPECT_THROW(build("index"), ConfigError);
  build("index", {}, true);
  EXPECT_EQ(folder_.size(), 2U);
  fs::create_directory(folder_ / "other");
  write_text(folder_ / "other" / "mine.txt", "x");
  EXPECT_THROW(build("other", {}, true), ConfigError);
  write_text(folder_ / "corpus.jsonl", "{\"id\": 1, \"text\": \" \"}\n");
  EXPECT_THAT(data_error_of([&] { build("blank"); }), HasSubstr("expected passages, found none"));
  EXPECT_EQ(folder_.size(), 3U);
}

TEST_F(Bm25Disk, SettingsOutOfRangeAreRefused) {
  draw_corpus(3);
  build("index");
  EXPECT_THROW(Bm25DiskIndex(folder_ / "index", {-1.0, {}}), ConfigError);
  EXPECT_THROW(Bm25DiskIndex(folder_ / "index", {{}, 1.5}), ConfigError);
  Bm25BuildSettings settings;
  settings.scoring.b = -0.1;
  EXPECT_THROW(build("bad", settings), ConfigError);
}

TEST_F(Bm25Disk, DamageIsSeenWhenTheIndexIsOpened) {
  draw_corpus(500);
  build("index");
  EXPECT_THAT(data_error_of([&] { Bm25DiskIndex index(folder_ / "absent"); }),
              HasSubstr("absent: expected the folder of an index, found no index.json"));
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder_ / "index"))
    names.push_back(entry.path().filename().string());
  for (const std::string& name : names) {
    if (name == kIndexManifestName) continue;
    const fs::path path = folder_ / "index" / name;
    const std::string content = read_file(path);
    write_text(path, content.substr(0, content.size() / 2));
    EXPECT_THAT(message_of("index"), AllOf(HasSubstr(name + " with "), HasSubstr("again"))) << name;
    std::string altered = content;
    altered[altered.size() / 3] ^= 0x41;
    write_text(path, altered);
    EXPECT_THAT(message_of("index"), HasSubstr(name + " as it was written, found another checksum"))
        << name;
    fs::remove(path);
    EXPECT_THAT(message_of("index"), HasSubstr(name + ", found no such file")) << name;
    write_text(path, content);
  }
  const fs::path manifest = folder_ / "index" / kIndexManifestName;
  const std::string text = read_file(manifest);
  const auto replaced = [&](const std::string& from, const std::string& to) {
    std::string changed = text;
    changed.replace(changed.find(from), from.size(), to);
    return changed;
  };
  write_text(manifest, text.substr(0, text.size() / 2));
  EXPECT_THAT(message_of("index"), HasSubstr("expected an index.json of an index"));
  write_text(manifest, replaced("\"format_version\": 1", "\"format_version\": 9"));
  EXPECT_THAT(message_of("index"),
              HasSubstr("expected an index of format version 1, found version 9"));
  write_text(manifest, replaced("\"kind\": \"bm25\"", "\"kind\": \"dense\""));
  EXPECT_THAT(message_of("index"),
              HasSubstr("expected an index of the kind bm25, found one of the kind dense"));
  write_text(manifest, replaced("\"unicode\"", "\"english\""));
  EXPECT_THAT(message_of("index"), HasSubstr("expected the analyzer unicode, found english"));
}

// Without checksums a damaged file may give wrong scores, but never more than an error.
TEST_F(Bm25Disk, UncheckedDamageNeverLeavesTheFiles) {
  draw_corpus(400);
  build("index");
  SeedStream stream(5);
  for (const char* name : {"blocks", "terms.table", "postings", "lengths", "passages.table"}) {
    const fs::path path = folder_ / "index" / name;
    const std::string content = read_file(path);
    for (int round = 0; round < 40; ++round) {
      std::string altered = content;
      for (int i = 0; i < 20; ++i)
        altered[stream.below(altered.size())] = static_cast<char>(stream.below(256));
      write_text(path, altered);
      try {
        const Bm25DiskIndex index(folder_ / "index", {{}, {}, 1, false});
        const auto found = index.search({"w0 w1 w2 w3 w5 w8 w13 w100"}, 500);
        for (const SearchHit& hit : found[0]) index.passages().passage(hit.passage);
      } catch (const DataError& error) {
        EXPECT_THAT(error.what(), HasSubstr("again"));
      }
    }
    write_text(path, content);
  }
}

}  // namespace
}  // namespace clara
