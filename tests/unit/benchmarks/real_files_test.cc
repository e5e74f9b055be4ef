// The real files beside the project convert with the counts that their list of sources states.
#include <algorithm>
#include <filesystem>
#include <map>
#include <string>

#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/benchmarks/convert.h"

namespace clara {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class RealFiles : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::is_directory(real_data_folder())) {
      GTEST_SKIP() << "no real data at " << real_data_folder();
    }
  }

  ConvertReport convert(const std::string& name, const ConvertSettings& settings = {}) {
    rows_.clear();
    return convert_benchmarks({(real_data_folder() / name).string()}, settings,
                              [&](std::string_view line) {
                                const json row = json::parse(line);
                                // What is written is what the record reader takes.
                                if (row.contains("data_type")) {
                                  parse_scp_record(line, {"out.jsonl", 1});
                                } else {
                                  parse_qa_record(line, {"out.jsonl", 1});
                                }
                                rows_.push_back(row);
                              });
  }

  std::vector<json> rows_;
};

TEST_F(RealFiles, HotpotQaTrain) {
  const ConvertReport report = convert("hotpotqa/hipporag_hotpot_train100.json");
  EXPECT_EQ(report.files[0].format, "hotpotqa");
  EXPECT_EQ(report.num_written, 100);
  std::map<std::size_t, int> paragraphs;
  std::map<std::string, int> types;
  for (const json& row : rows_) {
    ++paragraphs[row["docs"].size()];
    ++types[row["question_type"]];
  }
  EXPECT_EQ(paragraphs, (std::map<std::size_t, int>{{4, 1}, {10, 99}}));
  EXPECT_EQ(types, (std::map<std::string, int>{{"bridge", 78}, {"comparison", 22}}));
  EXPECT_EQ(report.num_missing_titles, 0);  // all supporting facts resolve
  EXPECT_EQ(report.num_missing_sentences, 0);
}

TEST_F(RealFiles, HotpotQaHeadIsCutOffInItsFiftyFourthRecord) {
  const std::string name = "hotpotqa/hotpot_dev_distractor_v1.head_truncated.json";
  EXPECT_THAT(data_error_of([&] { convert(name); }),
              HasSubstr("byte 365099: expected the end of the array, found the end of the file in "
                        "record 54, which starts at byte 361395; it is cut off; --keep-complete"));
  ConvertSettings settings;
  settings.keeps_complete = true;
  const ConvertReport report = convert(name, settings);
  EXPECT_EQ(report.num_written, 53);
  EXPECT_EQ(rows_[0]["id"], "5a8b57f25542995d1e6f1371");
  EXPECT_EQ(rows_[0]["answers"], json({"yes"}));
  EXPECT_EQ(rows_[0]["supporting_titles"], json({"Scott Derrickson", "Ed Wood"}));
}

TEST_F(RealFiles, MuSiQueAnswerable) {
  const ConvertReport report = convert("musique/hipporag_musique_ans_train100.json");
  EXPECT_EQ(report.files[0].format, "musique");
  EXPECT_EQ(report.num_written, 100);
  for (const json& row : rows_) EXPECT_EQ(row["docs"].size(), 20U);
  EXPECT_EQ(rows_[0]["answers"], json({"G. Stanley Hall", "Stanley Hall"}));
  EXPECT_EQ(rows_[0]["pos_index"], json({6, 10}));
}

TEST_F(RealFiles, MuSiQueFull) {
  const std::string name = "musique/cas_musique_full20_with_unanswerable.json";
  EXPECT_EQ(convert(name).num_written, 11);
  ConvertSettings settings;
  settings.keeps_unanswerable = true;
  EXPECT_EQ(convert(name, settings).num_written, 20);
  std::map<std::size_t, int> supports_of_unanswerable;  // their steps name none: null
  for (const json& row : rows_) {
    EXPECT_EQ(row["docs"].size(), 20U);
    EXPECT_FALSE(row["answers"].empty());
    if (row.contains("answerable")) ++supports_of_unanswerable[row["pos_index"].size()];
  }
  EXPECT_EQ(supports_of_unanswerable, (std::map<std::size_t, int>{{0, 5}, {1, 3}, {2, 1}}));
}

TEST_F(RealFiles, TwoWikiTrain) {
  const ConvertReport report = convert("2wiki/migres_2wiki_train500.json");
  EXPECT_EQ(report.files[0].format, "2wiki");
  EXPECT_EQ(report.num_written, 500);
  EXPECT_EQ(report.num_missing_titles, 0);
  EXPECT_EQ(report.num_missing_sentence_rows, 6);
  EXPECT_EQ(report.num_repeated_title_rows, 23);
  std::map<std::string, int> types;
  for (const json& row : rows_) {
    EXPECT_EQ(row["docs"].size(), 10U);
    ++types[row["question_type"]];
  }
  EXPECT_EQ(types, (std::map<std::string, int>{{"bridge_comparison", 92},
                                               {"comparison", 162},
                                               {"compositional", 227},
                                               {"inference", 19}}));
}

TEST_F(RealFiles, TwoWikiDev) {
  const ConvertReport report = convert("2wiki/kag_2wiki_dev2_first_party.json");
  EXPECT_EQ(report.files[0].format, "2wiki");
  EXPECT_EQ(report.num_written, 2);
  for (const json& row : rows_) EXPECT_EQ(row["docs"].size(), 10U);
  EXPECT_EQ(rows_[0]["answers"], json({"20 March 851"}));
}

TEST_F(RealFiles, NqRawHasNoAnswer) {
  const ConvertReport report = convert("nq/nq_v1.0_raw_train1.jsonl.gz");
  EXPECT_EQ(report.files[0].format, "nq");
  EXPECT_EQ(report.num_read, 1);
  EXPECT_EQ(report.dropped.at("no answer"), 1);
}

TEST_F(RealFiles, NqRawKeepsItsIdAndItsCandidates) {
  RowStream rows((real_data_folder() / "nq/nq_v1.0_raw_train1.jsonl.gz").string());
  const auto question = std::get<BenchmarkQuestion>(BenchmarkReader().read(rows.next().value()));
  EXPECT_EQ(question.id, "5985355041383167183");
  EXPECT_EQ(question.question, "benefits of colonial life for single celled organisms");
  EXPECT_EQ(question.passages.front().title, "Colony (biology)");
  EXPECT_THAT(question.passages.front().sentences.front(),
              StartsWith("In biology , a colony is composed of two or more conspecific"));
}

TEST_F(RealFiles, NqSimplified) {
  const ConvertReport report = convert("nq/nq_simplified_train1.json");
  EXPECT_EQ(report.files[0].format, "nq");
  ASSERT_EQ(report.num_written, 1);
  EXPECT_EQ(rows_[0]["id"], "5655493461695504401");
  EXPECT_EQ(rows_[0]["answers"], json({"a newsletter sent to an advertising firm 's customers"}));
  ASSERT_EQ(rows_[0]["pos_index"].size(), 1U);
  EXPECT_THAT(rows_[0]["docs"][rows_[0]["pos_index"][0].get<std::size_t>()].get<std::string>(),
              StartsWith("Email marketing\nA common example of permission marketing"));
}

TEST_F(RealFiles, Dpr) {
  const ConvertReport report = convert("nq/dpr_nq_dev5.json");
  EXPECT_EQ(report.files[0].format, "dpr");
  EXPECT_EQ(report.num_written, 5);
  // 22 positive, 250 negative and 483 hard negative passages.
  EXPECT_EQ(report.num_passages + report.num_repeated_passages, 755);
  EXPECT_EQ(rows_[2]["answers"], json({"July 5 , 2018"}));
  for (const json& row : rows_) {
    EXPECT_EQ(row["docs"].size(), 20U);
    EXPECT_GE(row["pos_index"].size(), 1U);
    EXPECT_LE(row["pos_index"].size(), 7U);
  }
}

TEST_F(RealFiles, DprQuestionsHaveAllTheirPassages) {
  RowStream rows((real_data_folder() / "nq/dpr_nq_dev5.json").string());
  BenchmarkReader reader;
  int num_questions = 0;
  while (const auto row = rows.next()) {
    const auto question = std::get<BenchmarkQuestion>(reader.read(*row));
    ++num_questions;
    // 1 to 7 positive, 50 negative and 94 to 100 hard negative ones.
    EXPECT_EQ(question.passages.size() + static_cast<std::size_t>(question.num_repeated_passages),
              151U);
    std::size_t num_relevant = 0;
    for (const BenchmarkPassage& passage : question.passages) num_relevant += passage.is_relevant;
    EXPECT_GE(num_relevant, 1U);
    EXPECT_LE(num_relevant, 7U);
    EXPECT_TRUE(question.is_ranked);
  }
  EXPECT_EQ(num_questions, 5);
}

TEST_F(RealFiles, MlClaraPretraining) {
  const ConvertReport report = convert("clara/pretrain_data.jsonl");
  EXPECT_EQ(report.files[0].format, "ml_clara");
  EXPECT_EQ(report.num_pretraining, 1000);
  EXPECT_EQ(report.num_pretraining_pairs, 7861);
  std::size_t fewest = rows_[0]["question"].size(), most = fewest;
  for (const json& row : rows_) {
    EXPECT_EQ(row["data_type"], "qa");
    ASSERT_EQ(row["docs"].size(), 1U);
    EXPECT_THAT(row["docs"][0].get<std::string>(), StartsWith("This a document about "));
    EXPECT_EQ(row["question"].size(), row["answers"].size());
    fewest = std::min(fewest, row["question"].size());
    most = std::max(most, row["question"].size());
  }
  EXPECT_EQ(fewest, 1U);
  EXPECT_EQ(most, 34U);
}

}  // namespace
}  // namespace clara
