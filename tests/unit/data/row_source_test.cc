// Laws of reading rows: every layout gives the same rows, and damage is reported with its place.
#include "clara/data/row_source.h"

#include <atomic>
#include <thread>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/data/record_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "clara/common/seeds.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

RowSource open_one(const std::filesystem::path& path, std::int64_t max_rows = 0) {
  return RowSource({DataSource{.path = path.string(), .max_rows = max_rows}});
}

std::vector<std::string> texts(const RowSource& rows) {
  std::vector<std::string> all;
  for (std::int64_t i = 0; i < rows.size(); ++i) all.push_back(rows.row(i).text);
  return all;
}

std::vector<std::int64_t> lines(const RowSource& rows) {
  std::vector<std::int64_t> all;
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows.row(i).place.line, rows.place(i).line);
    EXPECT_EQ(rows.num_bytes(i), std::ssize(rows.row(i).text));
    all.push_back(rows.place(i).line);
  }
  return all;
}

std::string error_of_opening(const std::filesystem::path& path) {
  std::string message = data_error_of([&] { open_one(path); });
  // Messages start with the path; the rest is what tests compare.
  EXPECT_EQ(message.rfind(path.string() + ":", 0), 0U) << message;
  return message.substr(std::min(message.size(), path.string().size()));
}

class RowSourceFiles : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(RowSourceFiles, LinesAreRows) {
  write_text(folder_ / "a.jsonl", "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  const RowSource rows = open_one(folder_ / "a.jsonl");
  EXPECT_THAT(texts(rows), ElementsAre("{\"n\":1}", "{\"n\":2}", "{\"n\":3}"));
  EXPECT_THAT(lines(rows), ElementsAre(1, 2, 3));
  EXPECT_EQ(rows.place(1).file, (folder_ / "a.jsonl").string());
}

TEST_F(RowSourceFiles, LastLineNeedsNoNewline) {
  write_text(folder_ / "a.jsonl", "{\"n\":1}\n{\"n\":2}");
  EXPECT_THAT(texts(open_one(folder_ / "a.jsonl")), ElementsAre("{\"n\":1}", "{\"n\":2}"));
}

TEST_F(RowSourceFiles, CarriageReturnsAndByteOrderMarkAreNoContent) {
  write_text(folder_ / "a.jsonl", "\xEF\xBB\xBF{\"n\":1}\r\n{\"n\":2}\r\n");
  EXPECT_THAT(texts(open_one(folder_ / "a.jsonl")), ElementsAre("{\"n\":1}", "{\"n\":2}"));
}

TEST_F(RowSourceFiles, BlankLinesAreSkippedAndLineNumbersStayRight) {
  write_text(folder_ / "a.jsonl",
             "\n \t\r\n{\"n\":1}\n{\"n\":2}\n\n\n  {\"n\":3}  \n\n{\"n\":4}\n\n");
  const RowSource rows = open_one(folder_ / "a.jsonl");
  EXPECT_THAT(texts(rows), ElementsAre("{\"n\":1}", "{\"n\":2}", "{\"n\":3}", "{\"n\":4}"));
  EXPECT_THAT(lines(rows), ElementsAre(3, 4, 7, 9));
}

TEST_F(RowSourceFiles, GzipGivesTheSameRowsAlsoFromSeveralMembers) {
  write_gzip(folder_ / "a.jsonl.gz", "\xEF\xBB\xBF{\"n\":1}\n\n{\"n\"");
  write_gzip(folder_ / "a.jsonl.gz", ":2}\n", "ab");
  {
    std::ofstream padding(folder_ / "a.jsonl.gz", std::ios::app | std::ios::binary);
    padding << std::string(512, '\0');
  }
  const RowSource rows = open_one(folder_ / "a.jsonl.gz");
  EXPECT_THAT(texts(rows), ElementsAre("{\"n\":1}", "{\"n\":2}"));
  EXPECT_THAT(lines(rows), ElementsAre(1, 3));
}

TEST_F(RowSourceFiles, UnpackedGzipLeavesNoFileBehind) {
  write_gzip(folder_ / "a.jsonl.gz", "{\"n\":1}\n");
  const TemporaryFolder scratch;
  const char* before = std::getenv("TMPDIR");
  const std::string saved = before == nullptr ? "" : before;
  ::setenv("TMPDIR", scratch.path().c_str(), 1);
  {
    const RowSource rows = open_one(folder_ / "a.jsonl.gz");
    EXPECT_EQ(scratch.size(), 0U);
    EXPECT_THAT(texts(rows), ElementsAre("{\"n\":1}"));
  }
  EXPECT_EQ(scratch.size(), 0U);
  if (before == nullptr) {
    ::unsetenv("TMPDIR");
  } else {
    ::setenv("TMPDIR", saved.c_str(), 1);
  }
}

TEST_F(RowSourceFiles, ElementsOfAnArrayAreRowsNumberedFromOne) {
  write_text(folder_ / "a.json",
             "\xEF\xBB\xBF \n[ {\"t\": \"a ] } , \\\" [ \\\\\"} ,\n\n {\"l\": [1, {\"x\": "
             "[]}]}\r\n,7 ] \n");
  const RowSource rows = open_one(folder_ / "a.json");
  EXPECT_THAT(texts(rows),
              ElementsAre("{\"t\": \"a ] } , \\\" [ \\\\\"}", "{\"l\": [1, {\"x\": []}]}", "7"));
  EXPECT_THAT(lines(rows), ElementsAre(1, 2, 3));
}

TEST_F(RowSourceFiles, ArraysInGzipAreReadToo) {
  write_gzip(folder_ / "a.json.gz", "[{\"n\":1},{\"n\":2}]");
  EXPECT_THAT(texts(open_one(folder_ / "a.json.gz")), ElementsAre("{\"n\":1}", "{\"n\":2}"));
}

TEST_F(RowSourceFiles, FilesFollowOneAnotherAndLimitsHold) {
  write_text(folder_ / "a.jsonl", "{\"a\":1}\n{\"a\":2}\n{\"a\":3}\n");
  write_text(folder_ / "b.json", "[{\"b\":1},{\"b\":2},{\"b\":3}]");
  const std::vector<DataSource> sources = {
      {.path = (folder_ / "a.jsonl").string(), .weight = 0.5, .max_rows = 2},
      {.path = (folder_ / "b.json").string(), .weight = 2}};
  const RowSource all(sources);
  EXPECT_THAT(texts(all),
              ElementsAre("{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"b\":2}", "{\"b\":3}"));
  EXPECT_EQ(all.place(2).str(), (folder_ / "b.json").string() + ":1");
  EXPECT_EQ(all.sources()[1].first_row, 2);
  EXPECT_EQ(all.sources()[1].num_rows, 3);
  EXPECT_EQ(all.sources()[0].weight, 0.5);

  EXPECT_THAT(texts(RowSource(sources, 4)),
              ElementsAre("{\"a\":1}", "{\"a\":2}", "{\"b\":1}", "{\"b\":2}"));
  const RowSource first(sources, 1);
  EXPECT_THAT(texts(first), ElementsAre("{\"a\":1}"));
  EXPECT_EQ(first.sources()[1].num_rows, 0);
  EXPECT_EQ(RowSource({}).size(), 0);
}

TEST_F(RowSourceFiles, IndexOutOfRangeIsAnError) {
  write_text(folder_ / "a.jsonl", "{}\n");
  const RowSource rows = open_one(folder_ / "a.jsonl");
  EXPECT_THROW(rows.row(1), Error);
  EXPECT_THROW(rows.row(-1), Error);
}

TEST_F(RowSourceFiles, ManyRowsAreFoundInAnyOrderFromManyThreads) {
  constexpr std::int64_t kNumRows = 200'000;
  std::string text;
  std::vector<std::string> expected;
  std::vector<std::int64_t> expected_lines;
  SeedStream stream(5);
  std::int64_t line = 0;
  for (std::int64_t i = 0; i < kNumRows; ++i) {
    for (++line; stream.below(50) == 0; ++line) text += "\n";
    expected.push_back("{\"n\":" + std::to_string(i) + ",\"t\":\"" +
                       std::string(static_cast<std::size_t>(stream.below(60)), 'x') + "\"}");
    expected_lines.push_back(line);
    text += expected.back() + "\n";
  }
  write_text(folder_ / "plain.jsonl", text);
  write_gzip(folder_ / "packed.jsonl.gz", text);
  for (const char* name : {"plain.jsonl", "packed.jsonl.gz"}) {
    const RowSource rows = open_one(folder_ / name);
    ASSERT_EQ(rows.size(), kNumRows);
    std::atomic<int> num_wrong = 0;
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        SeedStream draws(t);
        for (int i = 0; i < 5000; ++i) {
          const auto row = static_cast<std::size_t>(draws.below(kNumRows));
          const RawRow found = rows.row(static_cast<std::int64_t>(row));
          if (found.text != expected[row] || found.place.line != expected_lines[row]) ++num_wrong;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(num_wrong, 0) << name;
  }
}

TEST_F(RowSourceFiles, RowsLongerThanAReadAreWhole) {
  const std::string big = "{\"t\":\"" + std::string(3'500'000, 'y') + "\"}";
  write_text(folder_ / "a.jsonl", "{\"n\":1}\n" + big + "\n{\"n\":3}\n");
  write_text(folder_ / "a.json", "[{\"n\":1}," + big + ",{\"n\":3}]");
  write_gzip(folder_ / "a.jsonl.gz", "{\"n\":1}\n" + big + "\n{\"n\":3}\n");
  for (const char* name : {"a.jsonl", "a.json", "a.jsonl.gz"}) {
    const RowSource rows = open_one(folder_ / name);
    ASSERT_EQ(rows.size(), 3) << name;
    EXPECT_TRUE(rows.row(1).text == big) << name;
    EXPECT_EQ(rows.row(2).text, "{\"n\":3}") << name;
  }
}

TEST_F(RowSourceFiles, WhatIsNoFileOfRecordsIsRefused) {
  EXPECT_EQ(
      error_of_opening(folder_ / "none.jsonl"),
      ": expected a file of records, found no such file; check the path (relative paths start "
      "at the current folder)");
  std::filesystem::create_directory(folder_ / "shards.jsonl");
  EXPECT_EQ(error_of_opening(folder_ / "shards.jsonl"),
            ": expected a file of records, found a folder; list its files one by one");
  write_text(folder_ / "empty.jsonl", "");
  EXPECT_EQ(error_of_opening(folder_ / "empty.jsonl"), ": expected records, found an empty file");
  write_text(folder_ / "blank.jsonl", "\n \r\n");
  EXPECT_EQ(error_of_opening(folder_ / "blank.jsonl"),
            ": expected one JSON object a line, found only blank lines");
  write_text(folder_ / "a.csv", "a,b");
  EXPECT_EQ(error_of_opening(folder_ / "a.csv"),
            ": expected a name that ends in .jsonl, .jsonl.gz or .json");
  ASSERT_EQ(::mkfifo((folder_ / "pipe.jsonl").c_str(), 0600), 0);
  EXPECT_THAT(error_of_opening(folder_ / "pipe.jsonl"),
              HasSubstr("expected a regular file, found a pipe or device"));
}

TEST_F(RowSourceFiles, ArraysAndLinesUnderEachOthersNameAreExplained) {
  write_text(folder_ / "a.jsonl", "\n[\n{\"n\":1}\n]\n");
  EXPECT_THAT(error_of_opening(folder_ / "a.jsonl"),
              HasSubstr(":2: expected one JSON object a line, found the start of a list; a file "
                        "that is one JSON array must be named .json"));
  write_text(folder_ / "a.json", " {\"n\":1}\n{\"n\":2}\n");
  EXPECT_EQ(error_of_opening(folder_ / "a.json"),
            ": byte 1: expected a JSON array ('['), found '{'; a file of one JSON object a line "
            "must be named .jsonl");
}

TEST_F(RowSourceFiles, DamagedArraysAreReportedWithTheByte) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"[]", ": expected an array of records, found an empty array"},
      {"[{\"n\":1},{\"n\":\"[",
       ": byte 16: expected the end of the array, found the end of the file in record 2, which "
       "starts at byte 9; it is cut off"},
      {"[{\"n\":1}",
       ": byte 8: expected the end of the array, found the end of the file in record 1, which "
       "starts at byte 1; it is cut off"},
      {"[{\"n\":1}, ", ": byte 10: expected record 2, found the end of the file; it is cut off"},
      {"[{\"n\":1},]", ": byte 9: expected record 2, found ']'"},
      {"[{\"n\":1},,{}]", ": byte 9: expected record 2, found ','"},
      {"[{\"n\":1}] x", ": byte 10: expected nothing behind the array, found 'x'"},
      {"[{\"n\":[1}]", ": byte 8: expected brackets that close in order, found '}'"},
      {"  ", ": byte 2: expected a JSON array ('['), found the end of the file"},
  };
  for (const auto& [text, message] : cases) {
    write_text(folder_ / "a.json", text);
    EXPECT_EQ(error_of_opening(folder_ / "a.json"), message) << text;
  }
  write_text(folder_ / "a.json", std::string(100'000, '['));
  EXPECT_THAT(error_of_opening(folder_ / "a.json"),
              HasSubstr("expected at most 512 nested brackets"));
}

TEST_F(RowSourceFiles, DamagedGzipIsReportedWithTheByte) {
  std::string text;
  SeedStream stream(9);
  for (int i = 0; i < 2000; ++i) text += "{\"n\":" + std::to_string(stream.next()) + "}\n";
  const auto path = folder_ / "a.jsonl.gz";
  write_gzip(path, text);
  const auto size = std::filesystem::file_size(path);

  std::filesystem::resize_file(path, size - 3);
  EXPECT_EQ(error_of_opening(path), ": byte " + std::to_string(size - 3) +
                                        ": expected the end of the gzip stream, found the end of "
                                        "the file; it is cut off");
  std::filesystem::resize_file(path, size / 2);
  EXPECT_THAT(error_of_opening(path), HasSubstr("byte " + std::to_string(size / 2) + ": "));

  write_text(path, text);
  EXPECT_EQ(error_of_opening(path), ": byte 0: expected a gzip file, found other data");

  write_gzip(path, text);
  {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 2));
    file << "damage damage damage";
  }
  EXPECT_THAT(error_of_opening(path), HasSubstr(": expected intact gzip data, found damage ("));
}

TEST_F(RowSourceFiles, FilesThatChangeTheirSizeAreReported) {
  const auto path = folder_ / "a.jsonl";
  write_text(path, "{\"n\":1}\n{\"n\":2}\n");
  const RowSource rows = open_one(path);
  std::filesystem::resize_file(path, 10);
  EXPECT_EQ(
      data_error_of([&] { rows.row(1); }),
      path.string() +
          ":2: expected a file of 16 bytes as when it was opened, found 10; the file must not "
          "change during a run");
  write_text(path, "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n");
  EXPECT_THAT(data_error_of([&] { rows.row(0); }), HasSubstr("found 24;"));
  write_text(path, "{\"n\":1}\n{\"n\":2}\n");
  EXPECT_EQ(rows.row(1).text, "{\"n\":2}");
}

TEST(RowSourceRealData, BenchmarkArraysAreFoundElementByElement) {
  const auto folder = real_data_folder();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no real records at ../shared/data";
  for (const char* name :
       {"2wiki/migres_2wiki_train500.json", "hotpotqa/hipporag_hotpot_train100.json",
        "musique/hipporag_musique_ans_train100.json", "nq/dpr_nq_dev5.json"}) {
    const RowSource rows = open_one(folder / name);
    std::ifstream file(folder / name);
    const nlohmann::json whole = nlohmann::json::parse(file);
    ASSERT_EQ(rows.size(), static_cast<std::int64_t>(whole.size())) << name;
    for (std::int64_t i = 0; i < rows.size(); ++i) {
      EXPECT_EQ(nlohmann::json::parse(rows.row(i).text), whole[static_cast<std::size_t>(i)]);
    }
  }
  EXPECT_THAT(
      error_of_opening(folder / "hotpotqa/hotpot_dev_distractor_v1.head_truncated.json"),
      HasSubstr(": byte 365099: expected the end of the array, found the end of the file in "
                "record 54"));
  EXPECT_EQ(open_one(folder / "hotpotqa/hotpot_dev_distractor_v1.head_truncated.json", 53).size(),
            53);
}

}  // namespace
}  // namespace clara
