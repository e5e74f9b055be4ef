// Laws of records in chunks: positions follow their documents, other fields stay, bad rows are
// named.
#include "clara/data/chunk_records.h"

#include <map>
#include <sstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"

namespace clara {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::HasSubstr;

const Tokenizer& tokenizer() {
  static const std::unique_ptr<Tokenizer> kTokenizer =
      load_tokenizer(std::string(CLARA_SOURCE_DIR) + "/tests/fixtures/parity/llama/base");
  return *kTokenizer;
}

constexpr ChunkSettings kSettings{32, 0, false};

std::string long_text(const std::string& word) {
  std::string text;
  for (int i = 0; i < 60; ++i) text += word + " ";
  return text;
}

json joint_row() {
  return {{"question", "who?"},
          {"answer", "she"},
          {"docs", {"short", long_text("first"), "other", long_text("second")}},
          {"pos_index", {3, 0}},
          {"gold_docs", {long_text("gold")}},
          {"source", {{"kept", true}}}};
}

TEST(ChunkRecord, PositionsNameAllChunksOfTheirDocuments) {
  ChunkReport report;
  const std::string text =
      chunk_record(joint_row().dump(), {"x.jsonl", 1}, tokenizer(), kSettings, report);
  const QaRecord record = parse_qa_record(text, {"x.jsonl", 1});
  EXPECT_EQ(record.documents.front(), "short");
  ASSERT_GT(record.positives.size(), 2u);
  for (std::size_t k = 0; k < record.documents.size(); ++k) {
    const bool is_positive = std::find(record.positives.begin(), record.positives.end(),
                                       static_cast<std::int32_t>(k)) != record.positives.end();
    EXPECT_EQ(is_positive, k == 0 || record.documents[k].starts_with("second")) << k;
  }
  EXPECT_GT(record.gold_documents.size(), 1u);
  EXPECT_EQ(json::parse(text)["source"], joint_row()["source"]);
  EXPECT_EQ(report.num_documents, 4);
  EXPECT_EQ(report.num_split_documents, 2);
  EXPECT_EQ(report.num_chunks, static_cast<std::int64_t>(record.documents.size()));
}

TEST(ChunkRecord, TheFieldThatIsReadIsTheOneThatChanges) {
  json row = joint_row();
  row["context"] = row["docs"];
  row["docs"] = "no list";
  row.erase("pos_index");
  ChunkReport report;
  const json out =
      json::parse(chunk_record(row.dump(), {"x.jsonl", 1}, tokenizer(), kSettings, report));
  EXPECT_EQ(out["docs"], "no list");
  EXPECT_GT(out["context"].size(), 4u);
  EXPECT_FALSE(out.contains("pos_index"));
}

TEST(ChunkRecord, ScpRowsStayAsTheyAre) {
  const json row = {
      {"data_type", "qa"}, {"docs", {long_text("word")}}, {"question", {"a?"}}, {"answers", {"b"}}};
  ChunkReport report;
  EXPECT_EQ(json::parse(chunk_record(row.dump(), {"x.jsonl", 1}, tokenizer(), kSettings, report)),
            row);
  EXPECT_EQ(report.num_scp_rows, 1);
}

TEST(ChunkRecordFile, WritesTheWholeFileOrNothing) {
  const TemporaryFolder folder;
  const std::string good = joint_row().dump() + "\n";
  const std::string bad = "{\"question\": \"\xFF\"}\n";
  write_text(folder / "in.jsonl", good + bad + "{\"question\": 5}\n" + good);
  const auto run = [&](const char* name, bool skips) {
    return chunk_record_file(folder / "in.jsonl", folder / name, tokenizer(),
                             {kSettings, false, skips});
  };
  EXPECT_THAT(data_error_of([&] { run("out.jsonl", false); }),
              AllOf(HasSubstr("in.jsonl:2: byte"), HasSubstr("UTF-8"), HasSubstr("0xFF")));
  EXPECT_FALSE(std::filesystem::exists(folder / "out.jsonl"));
  const ChunkReport report = run("out.jsonl", true);
  EXPECT_EQ(report.num_rows, 2);
  ASSERT_EQ(report.bad_rows.size(), 2u);
  EXPECT_THAT(report.bad_rows[1], HasSubstr("in.jsonl:3: question"));
  const std::string written = read_file(folder / "out.jsonl");
  EXPECT_EQ(std::count(written.begin(), written.end(), '\n'), 2);
  EXPECT_THROW(run("out.json", true), ConfigError);
  EXPECT_THROW(run("in.jsonl", true), ConfigError);
  write_text(folder / "in.jsonl", bad);
  EXPECT_THAT(data_error_of([&] { run("none.jsonl", true); }), HasSubstr("every one"));
  EXPECT_FALSE(std::filesystem::exists(folder / "none.jsonl"));
}

TEST(ChunkRecordFile, ChunksAsRowsTellEveryDocumentOnce) {
  const TemporaryFolder folder;
  const json asked = {{"docs", {long_text("word")}}, {"question", {"a?"}}, {"answers", {"b"}}};
  write_text(folder / "in.jsonl",
             joint_row().dump() + "\n" + asked.dump() + "\n" + joint_row().dump() + "\n");
  const ChunkReport report = chunk_record_file(folder / "in.jsonl", folder / "out.jsonl",
                                               tokenizer(), {kSettings, true, false});
  EXPECT_EQ(report.num_documents, 6);  // four, their gold one, and the one that is asked about
  EXPECT_EQ(report.num_met_documents, 5);
  EXPECT_EQ(report.num_split_documents, 4);
  EXPECT_EQ(report.num_scp_rows, 0);
  EXPECT_EQ(report.num_rows, report.num_chunks);
  std::map<std::string, std::string> told;  // by first word: all chunks
  std::istringstream lines(read_file(folder / "out.jsonl"));
  std::int64_t num_lines = 0;
  for (std::string line; std::getline(lines, line); ++num_lines) {
    const ScpRecord row = parse_scp_record(line, {"out.jsonl", num_lines + 1});
    EXPECT_EQ(row.kind, ScpRecord::Kind::kParaphrase);
    EXPECT_EQ(row.answers, std::vector<std::string>{row.document});
    EXPECT_LE(tokenizer().encode(row.document, SpecialTokenText::kAsText).size(), 32u);
    told[row.document.substr(0, row.document.find(' '))] += row.document + " ";
  }
  EXPECT_EQ(num_lines, report.num_rows);
  EXPECT_EQ(told["first"], long_text("first"));
  EXPECT_EQ(told["word"], long_text("word"));
  EXPECT_EQ(told["short"], "short ");
}

TEST(ChunkRecordFile, CountsRowsWithTooManyDocuments) {
  json row = joint_row();
  row["docs"] = json::array();
  for (int i = 0; i < 30; ++i) row["docs"].push_back(long_text("word"));
  row["pos_index"] = {29};
  ChunkReport report;
  chunk_record(row.dump(), {"x.jsonl", 1}, tokenizer(), kSettings, report);
  EXPECT_EQ(report.num_crowded_rows, 1);
}

}  // namespace
}  // namespace clara
