// Searching a dense index by text, any index by its folder, and in the order of a cross-encoder.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/retrieval/bm25_builder.h"
#include "clara/retrieval/dense_index.h"
#include "clara/retrieval/open_passage_search.h"
#include "clara/retrieval/reranked_search.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using Json = nlohmann::json;
namespace fs = std::filesystem;

const fs::path kFixtures = fs::path(CLARA_SOURCE_DIR) / "tests/fixtures/retrieval";

class PassageSearchOf : public ::testing::Test {
 protected:
  PassageSearchOf() {
    const Json recorded = Json::parse(read_file(kFixtures / "expected.json"));
    std::string rows;
    for (const std::string& text : recorded["texts"].get<std::vector<std::string>>()) {
      texts_.emplace_back(strip_whitespace(text));
      if (texts_.back().empty()) {
        texts_.pop_back();  // no passage
        continue;
      }
      rows += Json({{"id", texts_.size()}, {"text", texts_.back()}}).dump() + "\n";
    }
    write_text(place_ / "corpus.jsonl", rows);
  }

  /// A dense index with the encoder in the folder `name` of the fixtures.
  fs::path dense(const std::string& name, VectorIndexKind kind = VectorIndexKind::kFlat) {
    CorpusReader corpus({(place_ / "corpus.jsonl").string()});
    DenseIndexSettings settings;
    settings.index.kind = kind;
    settings.dtype = TensorDtype::kF32;
    build_dense_index(corpus, place_ / name, TextEncoder(kFixtures / name), settings);
    return place_ / name;
  }
  fs::path bm25() {
    CorpusReader corpus({(place_ / "corpus.jsonl").string()});
    build_bm25_index(corpus, place_ / "bm25", /*replaces=*/false, {});
    return place_ / "bm25";
  }

  /// Their order and their scores, best first.
  static std::vector<SearchHit> sorted(const std::vector<float>& scores) {
    std::vector<SearchHit> hits;
    for (std::size_t i = 0; i < scores.size(); ++i)
      hits.push_back({static_cast<std::int64_t>(i), scores[i]});
    std::stable_sort(hits.begin(), hits.end(),
                     [](const SearchHit& a, const SearchHit& b) { return a.score > b.score; });
    return hits;
  }

  TemporaryFolder place_;
  std::vector<std::string> texts_;
};

using DenseSearch = PassageSearchOf;
using Reranked = PassageSearchOf;
using OpenPassageSearch = PassageSearchOf;

TEST_F(DenseSearch, ScoresAreTheCosinesOfQueryAndPassage) {
  for (const char* name : {"cls", "mean"}) {
    const DensePassageSearch index(dense(name));
    const TextEncoder encoder(kFixtures / name);
    const std::vector<std::string> queries = {"Who designed the tower?", "Paris"};
    const torch::Tensor scores =
        torch::mm(encoder.encode_queries(queries), encoder.encode_passages(texts_).t());
    const auto found = index.search(queries, 5);
    ASSERT_EQ(found.size(), 2U);
    EXPECT_EQ(index.num_passages(), std::ssize(texts_));
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const torch::Tensor row = scores[static_cast<std::int64_t>(q)].contiguous();
      const auto* values = row.const_data_ptr<float>();
      const std::vector<SearchHit> expected = sorted({values, values + row.size(0)});
      ASSERT_EQ(found[q].size(), 5U);
      for (std::size_t i = 0; i < found[q].size(); ++i) {
        EXPECT_EQ(found[q][i].passage, expected[i].passage) << name << " " << i;
        EXPECT_NEAR(found[q][i].score, expected[i].score, 1e-5);
        EXPECT_EQ(index.passages().passage(found[q][i].passage).text,
                  texts_[static_cast<std::size_t>(expected[i].passage)]);
      }
    }
  }
}

TEST_F(DenseSearch, NothingAskedIsNothingFound) {
  const DensePassageSearch index(dense("cls"));
  EXPECT_TRUE(index.search({}, 5).empty());
  EXPECT_TRUE(index.search({"tower"}, 0)[0].empty());
  EXPECT_EQ(index.search({"tower"}, 1000)[0].size(), texts_.size());
}

TEST_F(DenseSearch, QueriesGetTheFoldersPromptUnlessAnotherIsGiven) {
  const fs::path folder = dense("mean");
  DenseSearchSettings settings;
  settings.query_prefix = "";
  const DensePassageSearch plain(folder, settings);
  const DensePassageSearch prompted(folder);
  EXPECT_EQ(prompted.search({"Paris"}, 3), plain.search({"the tower: Paris"}, 3));
}

TEST_F(DenseSearch, TheEncoderMustBeTheOneOfTheVectors) {
  const fs::path folder = dense("cls");
  const fs::path moved = place_ / "moved";
  fs::copy(kFixtures / "cls", moved, fs::copy_options::recursive);
  DenseSearchSettings settings;
  settings.encoder = moved;
  EXPECT_EQ(DensePassageSearch(folder, settings).search({"Paris"}, 3),
            DensePassageSearch(folder).search({"Paris"}, 3));
  settings.encoder = kFixtures / "mean";
  EXPECT_THAT(data_error_of([&] { DensePassageSearch(folder, settings); }),
              AllOf(HasSubstr("mean"), HasSubstr("another one"), HasSubstr("--encoder")));
  // Told before any checksum is compared.
  std::string shard = read_file(folder / "vectors_000000.safetensors");
  const std::string whole = shard;
  shard.back() ^= 1;
  write_text(folder / "vectors_000000.safetensors", shard);
  EXPECT_THAT(data_error_of([&] { DensePassageSearch(folder, settings); }),
              HasSubstr("another one"));
  settings.encoder.clear();
  EXPECT_THAT(data_error_of([&] { DensePassageSearch(folder, settings); }), HasSubstr("checksum"));
  write_text(folder / "vectors_000000.safetensors", whole);
  settings.encoder = place_ / "absent";
  EXPECT_THAT(data_error_of([&] { DensePassageSearch(folder, settings); }),
              AllOf(HasSubstr("absent"), HasSubstr("--encoder")));
}

TEST_F(DenseSearch, LimitsOfTheIndexHoldForQueriesToo) {
  EncoderSettings encoding;
  encoding.max_tokens = 9;
  encoding.passage_prefix = "the ";
  encoding.pooling = Pooling::kMean;
  CorpusReader corpus({(place_ / "corpus.jsonl").string()});
  build_dense_index(corpus, place_ / "index", TextEncoder(kFixtures / "cls", encoding), {});
  const DensePassageSearch index(place_ / "index");
  const EncoderDescription encoder = index.encoder().describe();
  EXPECT_EQ(encoder.settings.at("max_tokens"), 9);
  EXPECT_EQ(encoder.names.at("pooling"), "mean");
  EXPECT_EQ(encoder.names.at("passage_prefix"), "the ");
}

TEST_F(Reranked, TheOrderIsTheCrossEncoders) {
  const CrossEncoder encoder(kFixtures / "cross");
  const RerankedSearch search(std::make_unique<Bm25DiskIndex>(bm25()),
                              CrossEncoder(kFixtures / "cross"));
  const std::string query = "the eiffel tower of paris";
  const auto first = Bm25DiskIndex(place_ / "bm25").search({query}, 100)[0];
  ASSERT_GT(first.size(), 2U);
  std::vector<std::string> documents;
  for (const SearchHit& hit : first)
    documents.push_back(texts_[static_cast<std::size_t>(hit.passage)]);
  std::vector<SearchHit> expected = sorted(encoder.scores(query, documents));
  for (SearchHit& hit : expected)
    hit.passage = first[static_cast<std::size_t>(hit.passage)].passage;
  EXPECT_EQ(search.search({query}, 100)[0], expected);
  expected.resize(2);
  const auto found = search.search({"absent", query}, 2);
  EXPECT_TRUE(found[0].empty());
  EXPECT_EQ(found[1], expected);
  EXPECT_EQ(search.num_passages(), std::ssize(texts_));
}

TEST_F(Reranked, PassagesBehindTheDepthAreNotFound) {
  RerankSettings settings;
  settings.depth = 2;
  const RerankedSearch search(std::make_unique<DensePassageSearch>(dense("cls")),
                              CrossEncoder(kFixtures / "cross"), settings);
  auto first = DensePassageSearch(place_ / "cls").search({"tower"}, 2)[0];
  auto found = search.search({"tower"}, 5)[0];
  const auto by_number = [](const SearchHit& a, const SearchHit& b) {
    return a.passage < b.passage;
  };
  std::sort(first.begin(), first.end(), by_number);
  std::sort(found.begin(), found.end(), by_number);
  ASSERT_EQ(found.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(found[i].passage, first[i].passage);
  settings.depth = 0;
  EXPECT_THROW(RerankedSearch(std::make_unique<DensePassageSearch>(place_ / "cls"),
                              CrossEncoder(kFixtures / "cross"), settings),
               ConfigError);
}

TEST_F(Reranked, TitlesStandInTheDocumentAsTheFormatSays) {
  write_text(place_ / "corpus.jsonl",
             R"({"id": 1, "title": "Tower", "text": "It stands in Paris."})");
  const CrossEncoder encoder(kFixtures / "cross");
  bm25();
  for (const auto& [format, document] :
       {std::pair(DocumentFormat::kTitleNewline, "Tower\nIt stands in Paris."),
        std::pair(DocumentFormat::kMlClara,
                  "This a document about Tower. \n It stands in Paris.")}) {
    RerankSettings settings;
    settings.document_format = format;
    const RerankedSearch search(std::make_unique<Bm25DiskIndex>(place_ / "bm25"),
                                CrossEncoder(kFixtures / "cross"), settings);
    EXPECT_EQ(search.search({"tower"}, 1)[0][0].score, encoder.scores("tower", {document})[0]);
  }
}

TEST_F(OpenPassageSearch, TheFolderSaysTheKind) {
  const std::string query = "the tower of Paris";
  bm25();
  dense("cls");
  EXPECT_EQ(open_passage_search(place_ / "bm25")->search({query}, 4),
            Bm25DiskIndex(place_ / "bm25").search({query}, 4));
  EXPECT_EQ(open_passage_search(place_ / "cls")->search({query}, 4),
            DensePassageSearch(place_ / "cls").search({query}, 4));
}

TEST_F(OpenPassageSearch, SettingsOfAnotherKindAreRefused) {
  bm25();
  dense("cls");
  const auto refused = [&](const std::string& index, auto change) {
    PassageSearchSettings settings;
    change(settings);
    try {
      open_passage_search(place_ / index, settings);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  EXPECT_THAT(refused("cls", [](auto& s) { s.bm25.k1 = 1; }),
              AllOf(HasSubstr("k1"), HasSubstr("kind dense")));
  EXPECT_THAT(refused("cls", [](auto& s) { s.bm25.b = 1; }), HasSubstr("b: "));
  EXPECT_THAT(refused("cls", [](auto& s) { s.dense.nprobe = 4; }), HasSubstr("nprobe"));
  EXPECT_THAT(refused("cls", [](auto& s) { s.dense.rescore = 4; }), HasSubstr("rescore"));
  EXPECT_THAT(refused("cls", [](auto& s) { s.dense.ef_search = 4; }), HasSubstr("ef_search"));
  EXPECT_THAT(refused("bm25", [](auto& s) { s.dense.encoder = "x"; }),
              AllOf(HasSubstr("encoder"), HasSubstr("kind bm25")));
  EXPECT_THAT(refused("bm25", [](auto& s) { s.dense.query_prefix = ""; }),
              HasSubstr("query_prefix"));
  EXPECT_THAT(refused("bm25", [](auto& s) { s.dense.nprobe = 4; }), HasSubstr("nprobe"));
  EXPECT_THAT(refused("bm25", [](auto& s) { s.dense.rescore = 4; }), HasSubstr("rescore"));
  EXPECT_THAT(refused("bm25", [](auto& s) { s.dense.ef_search = 4; }), HasSubstr("ef_search"));
}

TEST_F(OpenPassageSearch, LatentsNeedAnOpenerWhichGetsTheFolder) {
  const fs::path folder = dense("cls");
  Json manifest = Json::parse(read_file(folder / "index.json"));
  manifest["kind"] = "latent";  // the vectors of another encoder under that name
  write_text(folder / "index.json", manifest.dump());
  EXPECT_THAT(data_error_of([&] { open_passage_search(folder); }), HasSubstr("checkpoint"));
  EXPECT_THAT(data_error_of([&] { DensePassageSearch{folder}; }),
              AllOf(HasSubstr("kind dense"), HasSubstr("latent")));
  PassageSearchSettings settings;
  std::string opened;
  settings.open_latent_encoder = [&](const fs::path& of) {
    opened = of.string();
    return std::make_unique<const TextEncoder>(kFixtures / "cls");
  };
  EXPECT_EQ(open_passage_search(folder, settings)->search({"tower"}, 1000)[0].size(),
            texts_.size());
  EXPECT_EQ(opened, folder.string());
  settings.bm25.k1 = 1;
  EXPECT_THROW(open_passage_search(folder, settings), ConfigError);
  settings.bm25.k1.reset();
  settings.dense.query_prefix = "";
  EXPECT_THROW(open_passage_search(folder, settings), ConfigError);
}

TEST_F(OpenPassageSearch, AKindThatIsNotKnownIsNamed) {
  bm25();
  const fs::path manifest = place_ / "bm25" / "index.json";
  Json json = Json::parse(read_file(manifest));
  json["kind"] = "tree";
  write_text(manifest, json.dump());
  EXPECT_THAT(data_error_of([&] { open_passage_search(place_ / "bm25"); }),
              AllOf(HasSubstr("bm25 or dense"), HasSubstr("tree")));
}

}  // namespace
}  // namespace clara
