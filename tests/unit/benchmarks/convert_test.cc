// Laws of conversion: rows are counted whatever becomes of them, a file appears whole or not at
// all, and what is cut off or wrong says where.
#include "clara/benchmarks/convert.h"

#include <string>
#include <vector>

#include "tests/unit/benchmarks/benchmark_rows.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/data/row_source.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class Convert : public ::testing::Test {
 protected:
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  ConvertReport convert(const std::vector<std::string>& names,
                        const ConvertSettings& settings = {}) {
    std::vector<std::string> files;
    for (const std::string& name : names) files.push_back(path(name));
    lines_.clear();
    return convert_benchmarks(files, settings,
                              [&](std::string_view line) { lines_.emplace_back(line); });
  }

  void write_lines(const std::string& name, const std::vector<std::string>& rows) {
    std::string text;
    for (const std::string& row : rows) text += row + "\n";
    write_text(folder_ / name, text);
  }

  std::size_t num_files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path("")),
                                                  std::filesystem::directory_iterator()));
  }

  TemporaryFolder folder_;
  std::vector<std::string> lines_;
};

TEST_F(Convert, LinesArraysObjectsAndGzipGiveTheSameRecords) {
  const std::string row = kHotpotRow;
  write_lines("a.jsonl", {row, row});
  write_text(folder_ / "b.json", "[" + row + ",\n" + row + "]");
  write_text(folder_ / "c.json", row + "\n" + row);
  write_gzip(folder_ / "d.jsonl.gz", row + "\n" + row);
  const ConvertReport first = convert({"a.jsonl"});
  const std::vector<std::string> expected = lines_;
  EXPECT_EQ(first.num_written, 2);
  EXPECT_EQ(first.num_relevant, 4);
  EXPECT_EQ(first.num_documents, 6);
  for (const char* name : {"b.json", "c.json", "d.jsonl.gz"}) {
    convert({name});
    EXPECT_EQ(lines_, expected) << name;
  }
}

TEST_F(Convert, TheLayoutIsRecognisedInEachFile) {
  write_lines("a.jsonl", {kHotpotRow});
  write_lines("b.jsonl", {kMuSiQueRow, kMuSiQueFullRow});
  const ConvertReport report = convert({"a.jsonl", "b.jsonl"});
  ASSERT_EQ(report.files.size(), 2U);
  EXPECT_EQ(report.files[0].format, "hotpotqa");
  EXPECT_EQ(report.files[1].format, "musique");
  EXPECT_EQ(report.files[1].num_read, 2);
  EXPECT_EQ(report.files[1].num_written, 1);
  EXPECT_EQ(report.dropped.at("unanswerable"), 1);
  EXPECT_EQ(report.num_repeated_title_rows, 1);
  EXPECT_EQ(report.num_answers, 4);
}

TEST_F(Convert, UnanswerableRowsAreKeptWhenAskedFor) {
  write_lines("a.jsonl", {kMuSiQueFullRow});
  ConvertSettings settings;
  settings.keeps_unanswerable = true;
  const ConvertReport report = convert({"a.jsonl"}, settings);
  EXPECT_EQ(report.num_written, 1);
  EXPECT_THAT(report.dropped, IsEmpty());
  EXPECT_EQ(report.num_rows_without_relevant, 1);
  EXPECT_THAT(lines_.front(), HasSubstr("\"answerable\":false"));
}

TEST_F(Convert, RowsWithoutDocumentsServeEvaluationOnly) {
  write_lines("a.jsonl", {kNqOpenRow});
  ConvertSettings settings;
  EXPECT_EQ(convert({"a.jsonl"}, settings).num_without_documents, 1);
  EXPECT_THAT(lines_, ElementsAre("{\"question\":\"where does reed grow\",\"answers\":[\"wet "
                                  "soil\",\"soil\"]}\n"));
  for (const RecordKind kind : {RecordKind::kTune, RecordKind::kJoint}) {
    settings.record.kind = kind;
    EXPECT_EQ(convert({"a.jsonl"}, settings).dropped.at("no documents"), 1);
    EXPECT_THAT(lines_, IsEmpty());
  }
}

TEST_F(Convert, RowsWithoutAnAnswerAreDroppedAndCounted) {
  write_lines("a.jsonl", {R"({"_id": "1", "question": "q", "context": [["T", ["s"]]]})"});
  const ConvertReport report = convert({"a.jsonl"});
  EXPECT_EQ(report.dropped.at("no answer"), 1);
  EXPECT_EQ(report.num_written, 0);
  EXPECT_THAT(render_convert_report(report), HasSubstr("no record was written"));
}

TEST_F(Convert, PretrainingRowsStayPretrainingRecords) {
  write_lines("a.jsonl", {kPretrainingRow, kParaphraseRow, kMlClaraRow});
  const ConvertReport report = convert({"a.jsonl"});
  EXPECT_EQ(report.num_written, 3);
  EXPECT_EQ(report.num_pretraining, 2);
  EXPECT_EQ(report.num_pretraining_pairs, 2);
}

TEST_F(Convert, PassagesBecomePretrainingRowsOnceEach) {
  write_lines("a.jsonl", {kHotpotRow, kHotpotRow});
  write_lines("b.jsonl", {kMuSiQueFullRow});  // unanswerable: its passage serves all the same
  ConvertSettings settings;
  settings.record.kind = RecordKind::kScp;
  settings.record.max_documents = 2;  // of no matter: a row holds one
  const ConvertReport report = convert({"a.jsonl", "b.jsonl"}, settings);
  std::vector<std::string> documents;
  for (const std::string& line : lines_) {
    const ScpRecord row = parse_scp_record(line, {"a.jsonl", 1});
    EXPECT_EQ(row.kind, ScpRecord::Kind::kParaphrase);
    EXPECT_THAT(row.answers, ElementsAre(row.document));
    documents.push_back(row.document);
  }
  EXPECT_THAT(documents,
              ElementsAre("Tolvek\nA family. Nothing more.",
                          "Mara Tolvek\nMara Tolvek is a miller. She is from Belmar.",
                          "Oskel Mills\nFounded by Mara Tolvek. It mills.", "A\nFirst."));
  EXPECT_EQ(report.num_written, 4);
  EXPECT_EQ(report.num_pretraining_texts, 4);
  EXPECT_EQ(report.num_met_passages, 3);
  EXPECT_THAT(report.dropped, IsEmpty());
  const std::string text = render_convert_report(report);
  EXPECT_THAT(text,
              AllOf(HasSubstr("of them for pretraining"), HasSubstr("4 give their text back\n"),
                    HasSubstr("passages met before left out  3\n")));
}

TEST_F(Convert, MaxRowsCountsTheRowsOfAllFiles) {
  write_lines("a.jsonl", {kHotpotRow, kHotpotRow});
  write_lines("b.jsonl", {kHotpotRow, kHotpotRow});
  ConvertSettings settings;
  settings.max_rows = 3;
  const ConvertReport report = convert({"a.jsonl", "b.jsonl"}, settings);
  EXPECT_EQ(report.num_read, 3);
  EXPECT_EQ(report.files[1].num_read, 1);
  settings.max_rows = 2;
  EXPECT_EQ(convert({"a.jsonl", "b.jsonl"}, settings).files.size(), 1U);
}

TEST_F(Convert, ABadRowStopsOrIsLeftOutAndListed) {
  write_lines("a.jsonl", {kHotpotRow, "{\"question\": 1}", "{", kHotpotRow});
  EXPECT_THAT(data_error_of([&] { convert({"a.jsonl"}); }),
              HasSubstr("a.jsonl:2: question: expected a string, found the number 1"));
  ConvertSettings settings;
  settings.skips_bad_rows = true;
  const ConvertReport report = convert({"a.jsonl"}, settings);
  EXPECT_EQ(report.num_read, 4);
  EXPECT_EQ(report.num_written, 2);
  EXPECT_EQ(report.num_bad_rows, 2);
  EXPECT_EQ(report.dropped.at("bad row"), 2);
  ASSERT_EQ(report.bad_rows.size(), 2U);
  EXPECT_THAT(report.bad_rows[1], HasSubstr("a.jsonl:3: byte 2: expected one JSON object"));
  EXPECT_THAT(render_convert_report(report),
              AllOf(HasSubstr("dropped: bad row"), HasSubstr("a.jsonl:2: question")));
}

TEST_F(Convert, RowsThatAreAllBadAreAnError) {
  write_lines("a.jsonl", {"{\"x\": 1}", "{\"x\": 2}"});
  ConvertSettings settings;
  settings.skips_bad_rows = true;
  EXPECT_THAT(data_error_of([&] { convert({"a.jsonl"}, settings); }),
              HasSubstr("every one of its 2 rows is bad; the first: "));
}

TEST_F(Convert, AFileThatIsCutOffFailsOrGivesItsWholeRows) {
  const std::string row = kHotpotRow;
  write_text(folder_ / "a.json", "[" + row + "," + row + "," + row.substr(0, 90));
  write_text(folder_ / "b.jsonl", row + "\n" + row + "\n" + row.substr(0, 90));
  std::string accent = row;
  accent.replace(accent.find("Belmar"), 6, "\xC3\xA9");
  write_text(folder_ / "c.jsonl",
             row + "\n" + row + "\n" + accent.substr(0, accent.find("\xC3") + 1));
  ConvertSettings settings;
  settings.keeps_complete = true;
  for (const char* name : {"a.json", "b.jsonl", "c.jsonl"}) {
    EXPECT_THAT(data_error_of([&] { convert({name}); }),
                AllOf(HasSubstr("cut off"), HasSubstr("byte "),
                      HasSubstr("--keep-complete converts the whole rows before it")))
        << name;
    const ConvertReport report = convert({name}, settings);
    EXPECT_EQ(report.num_read, 2) << name;
    EXPECT_EQ(lines_.size(), 2U) << name;
    ASSERT_TRUE(report.files[0].cut_off.has_value()) << name;
    EXPECT_THAT(render_convert_report(report), HasSubstr("only its whole rows: ")) << name;
  }
}

TEST_F(Convert, KeepingWholeRowsDoesNotForgiveABadRowInside) {
  write_lines("a.jsonl", {"{", kHotpotRow});
  ConvertSettings settings;
  settings.keeps_complete = true;
  EXPECT_THAT(data_error_of([&] { convert({"a.jsonl"}, settings); }), HasSubstr("a.jsonl:1: byte"));
}

TEST_F(Convert, AFileIsWrittenWholeOrNotAtAll) {
  write_lines("in.jsonl", {kHotpotRow, kMuSiQueRow});
  EXPECT_THAT(data_error_of([&] {
                convert_benchmark_files({path("in.jsonl")}, path("out.jsonl"), false, {});
              }),
              HasSubstr("in.jsonl:2"));
  EXPECT_EQ(num_files(), 1U);
  write_lines("in.jsonl", {kHotpotRow, kHotpotRow});
  convert_benchmark_files({path("in.jsonl")}, path("out.jsonl"), false, {});
  convert_benchmark_files({path("in.jsonl")}, path("out.jsonl.gz"), false, {});
  EXPECT_EQ(num_files(), 3U);
  const RowSource plain({{path("out.jsonl"), 1.0, 0}});
  const RowSource packed({{path("out.jsonl.gz"), 1.0, 0}});
  ASSERT_EQ(plain.size(), 2);
  ASSERT_EQ(packed.size(), 2);
  for (std::int64_t i = 0; i < 2; ++i) {
    EXPECT_EQ(plain.row(i).text, packed.row(i).text);
    EXPECT_EQ(parse_qa_record(plain.row(i).text, plain.row(i).place).positives.size(), 2U);
  }
}

TEST_F(Convert, AFileThatIsThereIsReplacedOnlyWhenAskedFor) {
  write_lines("in.jsonl", {kHotpotRow});
  write_text(folder_ / "out.jsonl", "mine");
  const auto run = [&](const char* output, bool replaces) {
    convert_benchmark_files({path("in.jsonl")}, path(output), replaces, {});
  };
  EXPECT_THROW(run("out.jsonl", false), ConfigError);
  EXPECT_EQ(read_file(folder_ / "out.jsonl"), "mine");
  run("out.jsonl", true);
  EXPECT_NE(read_file(folder_ / "out.jsonl"), "mine");
  EXPECT_THROW(run("in.jsonl", true), ConfigError);
  EXPECT_THROW(run("out.json", true), ConfigError);
}

TEST_F(Convert, AMissingFileIsToldBeforeTheFirstIsRead) {
  write_lines("a.jsonl", {kHotpotRow});
  EXPECT_THAT(data_error_of([&] {
                convert({"a.jsonl", "absent.jsonl"});
              }),
              HasSubstr("absent.jsonl: expected a file of records, found no such file"));
  EXPECT_THAT(lines_, IsEmpty());
}

TEST_F(Convert, ProgressEndsWithAllBytesAndRows) {
  write_lines("a.jsonl", std::vector<std::string>(200, kKiltRow));
  write_gzip(folder_ / "b.jsonl.gz", kKiltRow);
  std::vector<std::int64_t> seen;
  std::int64_t all_bytes = 0;
  std::int64_t all_rows = 0;
  convert_benchmarks(
      {path("a.jsonl"), path("b.jsonl.gz")}, {}, [](std::string_view) {},
      [&](std::int64_t read, std::int64_t all, std::int64_t rows) {
        seen.push_back(read);
        all_bytes = all;
        all_rows = rows;
      });
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(seen.back(), all_bytes);
  EXPECT_EQ(all_rows, 201);
}

TEST_F(Convert, NamesOfTheAnswersEntityBecomeAnswers) {
  std::string row = kTwoWikiRow;
  row.replace(row.find("\"answer_id\": null"), 17, "\"answer_id\": \"Q5\"");
  write_lines("a.jsonl", {row, kTwoWikiRow});
  write_lines("id_aliases.json",
              {R"({"Q_id": "Q4", "aliases": ["x"], "demonyms": []})",
               R"({"Q_id": "Q5", "aliases": ["year 851", "851"], "demonyms": ["DCCCLI"]})"});
  ConvertSettings settings;
  settings.aliases = read_answer_aliases(path("id_aliases.json"));
  const ConvertReport report = convert({"a.jsonl"}, settings);
  EXPECT_EQ(report.num_aliased_rows, 1);
  EXPECT_EQ(report.num_answers, 4);
  EXPECT_THAT(lines_[0], HasSubstr("\"answers\":[\"851\",\"year 851\",\"DCCCLI\"]"));
  EXPECT_THAT(lines_[1], HasSubstr("\"answers\":[\"851\"]"));
  write_lines("bad.json", {R"({"Q_id": "Q4", "aliases": "x"})"});
  EXPECT_THAT(data_error_of([&] { read_answer_aliases(path("bad.json")); }),
              HasSubstr("bad.json:1: aliases: expected a list of strings, found the string"));
}

TEST_F(Convert, TheReportNamesWhatIsMissing) {
  std::string row = kHotpotRow;
  row.replace(row.find("[[\"Oskel Mills\", 0]"), 19, "[[\"Elsewhere\", 0]");
  write_lines("a.jsonl", {row, kHotpotRow});
  ConvertSettings settings;
  settings.record.max_documents = 2;
  const std::string text = render_convert_report(convert({"a.jsonl"}, settings));
  EXPECT_THAT(text, HasSubstr("a.jsonl (hotpotqa): 2 rows, 2 records\n"));
  EXPECT_THAT(text, HasSubstr("gold titles not in their row  1  in 1 row\n"));
  EXPECT_THAT(text, HasSubstr("passages left out             2  over --max-documents\n"));
}

}  // namespace
}  // namespace clara
