// Which documents a question gets from what an index found, and what is counted.
#include "clara/eval/retrieve_candidates.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/data/row_stream.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::UnorderedElementsAre;
using Json = nlohmann::ordered_json;
namespace fs = std::filesystem;
using Texts = std::vector<std::string>;

const std::vector<Passage> kPassages = {
    {"0", "Mara", "Mara Tolvek is a miller from Belmar."},
    {"1", "Oskel Mills", "Oskel Mills were founded by Mara."},
    {"2", "Belmar", "Belmar is a town."},
    {"3", "Oskel", "The Oskel is a river."},
    {"4", "MARA", "mara tolvek - is a miller, from BELMAR!"},  // passage 0 again
    {"5", "Zug", "Yes, nothing in common."},
};

std::string document(std::size_t passage) {
  return document_of(kPassages[passage], DocumentFormat::kTitleNewline);
}

/// Finds what it was told.
class ToldSearch final : public PassageSearch {
 public:
  ToldSearch(const fs::path& folder, std::map<std::string, std::vector<std::int64_t>> found)
      : store_(written(folder)), found_(std::move(found)) {}

  std::int64_t num_passages() const override { return store_.num_passages(); }
  const PassageStore& passages() const override { return store_; }
  std::vector<std::vector<SearchHit>> search(const Texts& queries, std::int64_t k) const override {
    std::vector<std::vector<SearchHit>> hits(queries.size());
    for (std::size_t q = 0; q < queries.size(); ++q) {
      const auto told = found_.find(queries[q]);
      if (told == found_.end()) continue;
      for (const std::int64_t passage : told->second) {
        if (std::ssize(hits[q]) < k)
          hits[q].push_back({passage, 1.0 / static_cast<double>(hits[q].size() + 1)});
      }
    }
    return hits;
  }

 private:
  static const fs::path& written(const fs::path& folder) {
    PassageStoreWriter writer(folder);
    for (const Passage& passage : kPassages) writer.add(passage);
    writer.finish();
    return folder;
  }

  PassageStore store_;
  std::map<std::string, std::vector<std::int64_t>> found_;
};

/// A question whose gold documents are passages 1 (among its own) and 0 (not).
const Json kQuestion = {{"id", "q"},
                        {"question", "Where was Mara born?"},
                        {"answers", {"Belmar"}},
                        {"docs", {document(1), "Own\nOf the benchmark."}},
                        {"pos_index", {0}},
                        {"gold_docs", {document(0)}},
                        {"level", "hard"}};

class RetrieveCandidates : public ::testing::Test {
 protected:
  CandidateReport run(const std::vector<Json>& rows, const CandidateSettings& settings,
                      const std::string& output = "out.jsonl") {
    std::string text;
    for (const Json& row : rows) text += row.dump() + "\n";
    write_text(place_ / "in.jsonl", text);
    CandidateSettings replacing = settings;
    replacing.replaces = true;
    const CandidateReport report =
        retrieve_candidates((place_ / "in.jsonl").string(), place_ / output, search_, replacing);
    written_.clear();
    RowStream stream((place_ / output).string());
    while (const auto row = stream.next()) written_.push_back(Json::parse(row->text));
    return report;
  }

  static CandidateSettings settings_of(CandidateMode mode, std::int64_t count) {
    CandidateSettings settings;
    settings.mode = mode;
    (mode == CandidateMode::kHardNegatives ? settings.num_hard_negatives
                                           : settings.num_candidates) = count;
    return settings;
  }

  Texts docs(std::size_t row = 0) const { return written_.at(row).at("docs").get<Texts>(); }
  Texts gold_among_docs(std::size_t row = 0) const {
    Texts gold;
    for (const Json& index : written_.at(row).at("pos_index"))
      gold.push_back(docs(row).at(index.get<std::size_t>()));
    return gold;
  }

  TemporaryFolder place_;
  ToldSearch search_{
      place_.path(),
      {{"Where was Mara born?", {3, 0, 4, 2, 1, 5}}, {"Which river?", {2, 3}}, {"Is it?", {5, 3}}}};
  std::vector<Json> written_;
};

TEST_F(RetrieveCandidates, NormalGivesWhatWasFoundInItsOrder) {
  const CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kNormal, 2));
  EXPECT_THAT(docs(), ElementsAre(document(3), document(0)));
  EXPECT_THAT(gold_among_docs(), ElementsAre(document(0)));
  EXPECT_THAT(written_[0]["gold_docs"].get<Texts>(), ElementsAre(document(1)));
  EXPECT_EQ(written_[0]["level"], "hard");
  EXPECT_EQ(written_[0]["id"], "q");
  EXPECT_EQ(report.num_read, 1);
  EXPECT_EQ(report.num_written, 1);
  EXPECT_EQ(report.num_documents, 2);
  EXPECT_EQ(report.num_gold_added, 0);
}

TEST_F(RetrieveCandidates, EqualTextsAreOneDocument) {
  const CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kNormal, 20));
  EXPECT_THAT(docs(), ElementsAre(document(3), document(0), document(2), document(1), document(5)));
  EXPECT_EQ(report.num_repeated, 1);
  EXPECT_EQ(report.num_short, 1);
  EXPECT_FALSE(written_[0].contains("gold_docs"));
}

TEST_F(RetrieveCandidates, OraclePutsGoldInForTheLastOthers) {
  CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kOracle, 3));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(3), document(0), document(1)));
  EXPECT_THAT(gold_among_docs(), UnorderedElementsAre(document(0), document(1)));
  EXPECT_FALSE(written_[0].contains("gold_docs"));
  EXPECT_EQ(report.num_gold_added, 1);
  // Gold documents are never dropped, even if there are more than places.
  report = run({kQuestion}, settings_of(CandidateMode::kOracle, 1));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(0), document(1)));
  EXPECT_EQ(report.num_gold_added, 2);
  // Where the index found them, none is put in.
  report = run({kQuestion}, settings_of(CandidateMode::kOracle, 5));
  EXPECT_EQ(docs().size(), 5U);
  EXPECT_EQ(report.num_gold_added, 0);
}

TEST_F(RetrieveCandidates, OraclePutsGoldInWhereNothingWasFound) {
  Json question = kQuestion;
  question["question"] = "unheard of";
  const CandidateReport report = run({question}, settings_of(CandidateMode::kOracle, 20));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(0), document(1)));
  EXPECT_EQ(report.num_gold_added, 2);
}

TEST_F(RetrieveCandidates, TheDrawnOrderDependsOnSeedAndQuestionOnly) {
  CandidateSettings settings = settings_of(CandidateMode::kOracle, 5);
  run({kQuestion}, settings);
  const Texts alone = docs();
  run({{{"question", "Which river?"}, {"answer", "Oskel"}}, kQuestion}, settings);
  EXPECT_EQ(docs(1), alone);
  bool is_other = false;
  for (settings.seed = 1; settings.seed < 6 && !is_other; ++settings.seed) {
    run({kQuestion}, settings);
    is_other = docs() != alone;
  }
  EXPECT_TRUE(is_other);
}

TEST_F(RetrieveCandidates, InBenchmarkKeepsTheRecordsDocuments) {
  CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kInBenchmark, 4));
  EXPECT_THAT(docs(), ElementsAre(document(1), "Own\nOf the benchmark.", document(3), document(0)));
  EXPECT_THAT(gold_among_docs(), ElementsAre(document(1), document(0)));
  EXPECT_EQ(report.num_filled, 2);
  // Over the limit others go, then one of two equal texts counts.
  Json question = kQuestion;
  question["docs"] = {"Own\nOf the benchmark.", "Last\nOther.", "OWN. Of the benchmark",
                      document(1)};
  question["pos_index"] = {3};
  report = run({question}, settings_of(CandidateMode::kInBenchmark, 2));
  EXPECT_THAT(docs(), ElementsAre("Own\nOf the benchmark.", document(1)));
  EXPECT_EQ(report.num_repeated, 2);  // one of the record, one of the index
  EXPECT_EQ(report.num_filled, 0);
}

TEST_F(RetrieveCandidates, HardNegativesHoldNoAnswer) {
  CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kHardNegatives, 2));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(0), document(1), document(3), document(5)));
  EXPECT_THAT(gold_among_docs(), UnorderedElementsAre(document(0), document(1)));
  EXPECT_EQ(report.num_with_answer, 1);  // passage 2
  EXPECT_EQ(report.num_short, 0);
  report = run({kQuestion}, settings_of(CandidateMode::kHardNegatives, 1));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(0), document(1), document(3)));
  report = run({kQuestion}, settings_of(CandidateMode::kHardNegatives, 9));
  EXPECT_EQ(docs().size(), 4U);
  EXPECT_EQ(report.num_short, 1);
}

TEST_F(RetrieveCandidates, YesAndNoMakeNoDocumentAnAnswer) {
  const Json question = {{"question", "Is it?"}, {"answers", {"Yes"}}};
  const CandidateReport report = run({question}, settings_of(CandidateMode::kHardNegatives, 2));
  EXPECT_THAT(docs(), UnorderedElementsAre(document(5), document(3)));
  EXPECT_EQ(report.num_with_answer, 0);
}

TEST_F(RetrieveCandidates, RecallIsTheShareOfGoldThatTheIndexFound) {
  CandidateReport report = run({kQuestion}, settings_of(CandidateMode::kNormal, 2));
  EXPECT_THAT(report.recall, ElementsAre(0.0, 1.0, 1.0));  // 0 second, 1 fourth, without repeats
  EXPECT_THAT(report.answer_recall, ElementsAre(0.0, 1.0, 1.0));
  // The mode does not change what was found.
  report = run({kQuestion}, settings_of(CandidateMode::kOracle, 2));
  EXPECT_THAT(report.recall, ElementsAre(0.0, 1.0, 1.0));
  Json other = kQuestion;
  other["question"] = "Which river?";  // neither of its gold documents
  const Json without = {{"question", "Is it?"}, {"answer", "zug"}};
  report = run({kQuestion, other, without}, settings_of(CandidateMode::kNormal, 2));
  EXPECT_THAT(report.recall, ElementsAre(0.0, 0.5, 0.5));
  EXPECT_EQ(report.num_without_gold, 1);
  EXPECT_DOUBLE_EQ(report.answer_recall[0], 2.0 / 3);
  EXPECT_DOUBLE_EQ(report.answer_recall[1], 1.0);
}

TEST_F(RetrieveCandidates, SupportingTitlesAreGoldWhereTextsAreNotTold) {
  const Json question = {
      {"question", "Which river?"}, {"answer", "Oskel"}, {"supporting_titles", {"Oskel", "Gone"}}};
  const CandidateReport report = run({question}, settings_of(CandidateMode::kOracle, 2));
  EXPECT_THAT(gold_among_docs(), ElementsAre(document(3)));
  EXPECT_FALSE(written_[0].contains("gold_docs"));
  EXPECT_EQ(report.num_gold_added, 0);
  EXPECT_THAT(report.recall, ElementsAre(0.0, 0.5, 0.5));
  // The title of a gold text is not a second gold document.
  Json told = kQuestion;
  told["supporting_titles"] = {"Mara", "Oskel Mills"};
  EXPECT_THAT(run({told}, settings_of(CandidateMode::kNormal, 2)).recall,
              ElementsAre(0.0, 1.0, 1.0));
}

TEST_F(RetrieveCandidates, GoldIsRecognisedInMlClarasFormat) {
  Json question = kQuestion;
  question["gold_docs"] = {"This a document about Mara. \n Mara Tolvek is a miller from Belmar."};
  CandidateSettings settings = settings_of(CandidateMode::kNormal, 2);
  settings.document_format = DocumentFormat::kMlClara;
  run({question}, settings);
  EXPECT_THAT(gold_among_docs(),
              ElementsAre("This a document about Mara. \n Mara Tolvek is a miller from Belmar."));
}

TEST_F(RetrieveCandidates, QuestionsForWhichNothingIsFoundAreDropped) {
  const Json question = {{"question", "unheard of"}, {"answer", "a"}};
  const CandidateReport report = run({question, kQuestion}, settings_of(CandidateMode::kNormal, 2));
  EXPECT_EQ(written_.size(), 1U);
  EXPECT_EQ(report.num_without_documents, 1);
  EXPECT_EQ(report.num_written, 1);
  EXPECT_THAT(render_candidate_report(report),
              AllOf(HasSubstr("dropped: nothing was found"), Not(HasSubstr("bad rows"))));
}

TEST_F(RetrieveCandidates, BadRowsStopOrAreListed) {
  const Json bad = {{"question", 3}, {"answer", "a"}};
  const Json titles = {{"question", "Which river?"}, {"answer", "a"}, {"supporting_titles", "x"}};
  CandidateSettings settings = settings_of(CandidateMode::kNormal, 2);
  EXPECT_THAT(data_error_of([&] {
                run({kQuestion, bad}, settings);
              }),
              HasSubstr("in.jsonl:2: question: expected a string"));
  EXPECT_FALSE(fs::exists(place_ / "out.jsonl"));
  settings.skips_bad_rows = true;
  const CandidateReport report = run({kQuestion, bad, titles}, settings);
  EXPECT_EQ(report.num_written, 1);
  EXPECT_EQ(report.num_bad_rows, 2);
  EXPECT_THAT(report.bad_rows, Contains(HasSubstr("supporting_titles: expected a list")));
  EXPECT_THAT(render_candidate_report(report), HasSubstr("in.jsonl:2: question"));
  EXPECT_THAT(data_error_of([&] { run({bad}, settings); }), HasSubstr("every one of its 1 rows"));
}

TEST_F(RetrieveCandidates, ManyRowsComeInTheirOrder) {
  std::vector<Json> rows;
  for (int i = 0; i < 600; ++i) {
    rows.push_back(kQuestion);
    rows.back()["id"] = std::to_string(i);
  }
  run(rows, settings_of(CandidateMode::kNormal, 1));
  ASSERT_EQ(written_.size(), 600U);
  for (std::size_t i = 0; i < 600; ++i) EXPECT_EQ(written_[i]["id"], std::to_string(i));
  const std::vector<Json> plain = written_;
  run(rows, settings_of(CandidateMode::kNormal, 1), "out.jsonl.gz");
  EXPECT_EQ(written_, plain);
}

TEST_F(RetrieveCandidates, SettingsAndNamesAreChecked) {
  const auto refused = [&](const CandidateSettings& settings, const std::string& output) {
    try {
      run({kQuestion}, settings, output);
    } catch (const ConfigError& error) {
      return std::string(error.what());
    }
    return std::string("no error");
  };
  const CandidateSettings normal = settings_of(CandidateMode::kNormal, 2);
  EXPECT_THAT(refused(settings_of(CandidateMode::kNormal, 0), "o.jsonl"), HasSubstr("candidates"));
  EXPECT_THAT(refused(settings_of(CandidateMode::kNormal, 65), "o.jsonl"), HasSubstr("1 to 64"));
  EXPECT_THAT(refused(settings_of(CandidateMode::kHardNegatives, 0), "o.jsonl"),
              HasSubstr("hard negatives"));
  EXPECT_THAT(refused(normal, "o.csv"), HasSubstr(".jsonl.gz"));
  EXPECT_THAT(refused(normal, "in.jsonl"), HasSubstr("another file"));
  write_text(place_ / "there.jsonl", "x");
  EXPECT_THROW(
      retrieve_candidates((place_ / "in.jsonl").string(), place_ / "there.jsonl", search_, normal),
      ConfigError);
  EXPECT_EQ(read_file(place_ / "there.jsonl"), "x");
}

}  // namespace
}  // namespace clara
