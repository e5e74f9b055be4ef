// Laws of reading rows once, in order: every layout gives the same rows, and a file that is cut off
// says where.
#include "clara/data/row_stream.h"

#include <string>
#include <utility>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class RowStreamFiles : public ::testing::Test {
 protected:
  std::vector<std::string> texts(const std::string& name, bool keeps_complete = false) const {
    RowStream rows((folder_ / name).string(), keeps_complete);
    std::vector<std::string> all;
    while (const auto row = rows.next()) all.emplace_back(row->text);
    return all;
  }

  TemporaryFolder folder_;
};

TEST_F(RowStreamFiles, EveryLayoutGivesTheSameRows) {
  const std::string lines = "{\"n\":1}\n\n  {\"n\":2}  \r\n{\"n\":3}";
  const std::string array = "\n[ {\"n\":1},{\"n\":2} ,\n{\"n\":3}]\n";
  const std::string objects = "{\"n\":1}{\"n\":2}\n{\"n\":3}\n";
  write_text(folder_ / "a.jsonl", lines);
  write_text(folder_ / "b.json", array);
  write_text(folder_ / "c.json", objects);
  write_text(folder_ / "d.jsonl", array);
  write_text(folder_ / "e.json", "\xEF\xBB\xBF" + lines);
  write_gzip(folder_ / "f.jsonl.gz", lines);
  write_gzip(folder_ / "g.json.gz", array);
  write_gzip(folder_ / "h.json.gz", objects);
  for (const char* name : {"a.jsonl", "b.json", "c.json", "d.jsonl", "e.json", "f.jsonl.gz",
                           "g.json.gz", "h.json.gz"}) {
    EXPECT_THAT(texts(name), ElementsAre("{\"n\":1}", "{\"n\":2}", "{\"n\":3}")) << name;
  }
}

TEST_F(RowStreamFiles, AnObjectOfAJsonFileMayTakeSeveralLines) {
  write_text(folder_ / "a.json", "{\n\t\"n\": \"}\\\"{\"\n}\n{\n}\n");
  EXPECT_THAT(texts("a.json"), ElementsAre("{\n\t\"n\": \"}\\\"{\"\n}", "{\n}"));
}

TEST_F(RowStreamFiles, PlacesAreLinesOrNumbersAndOffsetsAreBytes) {
  write_text(folder_ / "a.jsonl", "\n{}\n\n{\"a\":1}\n");
  RowStream lines((folder_ / "a.jsonl").string());
  EXPECT_EQ(lines.next()->place.line, 2);
  const auto second = lines.next();
  EXPECT_EQ(second->place.line, 4);
  EXPECT_EQ(second->offset, 5U);
  EXPECT_TRUE(second->is_on_line);
  EXPECT_TRUE(second->has_line_end);
  write_text(folder_ / "b.json", "[{},\n\n {\"a\":1}]");
  RowStream elements((folder_ / "b.json").string());
  elements.next();
  const auto element = elements.next();
  EXPECT_EQ(element->place.line, 2);
  EXPECT_EQ(element->offset, 7U);
  EXPECT_FALSE(element->is_on_line);
}

TEST_F(RowStreamFiles, RowsLongerThanWhatIsReadAtOnceAreWhole) {
  std::string array = "[";
  std::vector<std::string> expected;
  for (int i = 0; i < 5; ++i) {
    std::string text(1'300'000, static_cast<char>('a' + i));
    text += "\\\"]";
    expected.push_back("{\"t\":\"" + text + "\"}");
    array += (i == 0 ? "" : ",") + expected.back();
  }
  array += "]";
  write_text(folder_ / "a.json", array);
  write_gzip(folder_ / "b.json.gz", array);
  EXPECT_EQ(texts("a.json"), expected);
  EXPECT_EQ(texts("b.json.gz"), expected);
}

TEST_F(RowStreamFiles, ALastLineWithoutABreakSaysSo) {
  write_text(folder_ / "a.jsonl", "{}\n{\"a\":");
  RowStream rows((folder_ / "a.jsonl").string());
  EXPECT_TRUE(rows.next()->has_line_end);
  EXPECT_FALSE(rows.next()->has_line_end);
  EXPECT_FALSE(rows.next().has_value());
}

TEST_F(RowStreamFiles, AFileThatIsCutOffThrowsWithTheByteOrEndsBehindItsLastWholeRow) {
  write_text(folder_ / "a.json", "[{\"n\":1}, {\"n\":2}, {\"n\":\"x");
  EXPECT_THAT(data_error_of([&] { texts("a.json"); }),
              AllOf(HasSubstr("a.json: byte 26: expected the end of the array, found the end of "
                              "the file in record 3"),
                    HasSubstr("starts at byte 19; it is cut off")));
  EXPECT_THAT(texts("a.json", true), ElementsAre("{\"n\":1}", "{\"n\":2}"));
  RowStream rows((folder_ / "a.json").string(), true);
  while (rows.next()) {
  }
  ASSERT_TRUE(rows.cut_off().has_value());
  EXPECT_THAT(*rows.cut_off(), HasSubstr("byte 26"));

  write_text(folder_ / "b.json", "{\"n\":1}\n{\"n\"");
  EXPECT_THAT(data_error_of([&] { texts("b.json"); }),
              HasSubstr("byte 12: expected the end of the object"));
  EXPECT_THAT(texts("b.json", true), ElementsAre("{\"n\":1}"));

  write_text(folder_ / "c.json", "[{\"n\":1},");
  EXPECT_THAT(texts("c.json", true), ElementsAre("{\"n\":1}"));
}

TEST_F(RowStreamFiles, GzipThatIsCutOffGivesItsWholeRowsFirst) {
  std::string lines;
  for (int i = 0; i < 20'000; ++i) lines += "{\"n\":" + std::to_string(i * 7919 % 10007) + "}\n";
  write_gzip(folder_ / "whole.jsonl.gz", lines);
  const std::string packed = read_file(folder_ / "whole.jsonl.gz");
  write_text(folder_ / "cut.jsonl.gz", packed.substr(0, packed.size() / 2));
  EXPECT_THAT(data_error_of([&] { texts("cut.jsonl.gz"); }), HasSubstr("it is cut off"));
  const std::vector<std::string> kept = texts("cut.jsonl.gz", true);
  const std::vector<std::string> all = texts("whole.jsonl.gz");
  ASSERT_GT(kept.size(), 1000U);
  ASSERT_LT(kept.size(), all.size());
  EXPECT_TRUE(std::equal(kept.begin(), kept.end(), all.begin()));
}

TEST_F(RowStreamFiles, WhatIsNoFileOfRowsIsRefused) {
  write_text(folder_ / "blank.jsonl", " \n\n");
  EXPECT_THAT(data_error_of([&] { texts("blank.jsonl"); }), HasSubstr("found only white space"));
  EXPECT_THAT(data_error_of([&] { texts("absent.jsonl"); }), HasSubstr("no such file"));
  write_text(folder_ / "a.json", "3");
  EXPECT_THAT(data_error_of([&] { texts("a.json"); }), HasSubstr("byte 0: expected a JSON object"));
  write_text(folder_ / "b.json", "[{]");
  EXPECT_THAT(data_error_of([&] { texts("b.json"); }), HasSubstr("byte 2: expected brackets"));
  // Damage is no cut.
  EXPECT_THAT(data_error_of([&] { texts("b.json", true); }), HasSubstr("byte 2"));
}

TEST_F(RowStreamFiles, ProgressEndsAtTheSizeOfTheFile) {
  write_gzip(folder_ / "a.jsonl.gz", "{}\n{}\n");
  RowStream rows((folder_ / "a.jsonl.gz").string());
  while (rows.next()) {
  }
  EXPECT_EQ(rows.num_bytes_read(), rows.num_bytes());
  EXPECT_EQ(rows.num_bytes(), std::filesystem::file_size(folder_ / "a.jsonl.gz"));
}

}  // namespace
}  // namespace clara
