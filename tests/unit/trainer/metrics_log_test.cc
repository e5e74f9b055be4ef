// metrics.jsonl across kills and resumes, and event files that another reader can check.
#include "clara/trainer/metrics_log.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <vector>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using Json = nlohmann::json;

std::vector<Json> rows_of(const std::filesystem::path& path) {
  std::vector<Json> rows;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) rows.push_back(Json::parse(line));
  return rows;
}

std::vector<std::int64_t> steps_of(const std::filesystem::path& path) {
  std::vector<std::int64_t> steps;
  for (const Json& row : rows_of(path)) steps.push_back(row.at("step").get<std::int64_t>());
  return steps;
}

TEST(MetricsLog, EveryRowReachesTheFileAtOnce) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path(), false, std::nullopt);
  log.write(1, {{"loss", 2.5}, {"rows", 32}});
  const std::vector<Json> rows = rows_of(folder / "metrics.jsonl");
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0], (Json{{"step", 1}, {"loss", 2.5}, {"rows", 32}}));
  EXPECT_TRUE(rows[0].at("rows").is_number_integer());
  EXPECT_EQ(folder.size(), 1U) << "no event file unless asked for";
}

TEST(MetricsLog, ValuesSurviveTheFile) {
  const TemporaryFolder folder;
  const std::vector<double> values = {1.0 / 3, 1e-30, 123456789.125, -0.1, 6.02e23};
  MetricsLog log(folder.path(), false, std::nullopt);
  for (const double value : values) log.write(1, {{"x", value}});
  const std::vector<Json> rows = rows_of(folder / "metrics.jsonl");
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_EQ(rows[i].at("x").get<double>(), values[i]);
}

TEST(MetricsLog, WhatIsNotFiniteStaysValidJson) {
  const TemporaryFolder folder;
  MetricsLog log(folder.path(), false, std::nullopt);
  log.write(1, {{"a", std::nan("")}, {"b", std::numeric_limits<double>::infinity()}});
  EXPECT_EQ(rows_of(folder / "metrics.jsonl").size(), 1U);
}

TEST(MetricsLog, ResumingCutsTheRowsAfterTheStep) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), false, std::nullopt);
    for (std::int64_t step = 1; step <= 5; ++step) log.write(step, {{"loss", 1.0}});
  }
  {
    MetricsLog log(folder.path(), false, LogCut{3});
    EXPECT_THAT(steps_of(folder / "metrics.jsonl"), ElementsAre(1, 2, 3));
    log.write(4, {{"loss", 0.5}});
  }
  EXPECT_THAT(steps_of(folder / "metrics.jsonl"), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(rows_of(folder / "metrics.jsonl")[3].at("loss"), 0.5);
}

TEST(MetricsLog, ResumingCutsATornLastLine) {
  for (const std::string torn : {"{\"step\":3,\"lo", "{\"step\":3,\"loss\":1.0}", "\xff\n"}) {
    const TemporaryFolder folder;
    std::ofstream(folder / "metrics.jsonl") << "{\"step\":1}\n{\"step\":2}\n" << torn;
    MetricsLog log(folder.path(), false, LogCut{5});
    log.write(3, {{"loss", 1.0}});
    EXPECT_THAT(steps_of(folder / "metrics.jsonl"), ElementsAre(1, 2, 3)) << torn;
  }
}

TEST(MetricsLog, AValidationThatWillBeRepeatedIsCut) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), false, std::nullopt);
    log.write(2, {{"loss", 1.0}});
    log.write(2, {{"validation/loss", 3.0}});
    log.write(4, {{"loss", 0.5}});
    log.write(4, {{"validation/loss", 2.0}});
  }
  { const MetricsLog log(folder.path(), false, LogCut{4, true}); }
  EXPECT_THAT(steps_of(folder / "metrics.jsonl"), ElementsAre(2, 2, 4));
  { const MetricsLog log(folder.path(), false, LogCut{4, false}); }
  EXPECT_THAT(steps_of(folder / "metrics.jsonl"), ElementsAre(2, 2, 4));
}

TEST(MetricsLog, ANewRunStartsANewFile) {
  const TemporaryFolder folder;
  std::ofstream(folder / "metrics.jsonl") << "{\"step\":1}\n";
  const MetricsLog log(folder.path(), false, std::nullopt);
  EXPECT_TRUE(rows_of(folder / "metrics.jsonl").empty());
}

TEST(MetricsLog, AFolderThatIsNotThereIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(MetricsLog(folder / "none", false, std::nullopt), Error);
  EXPECT_THROW(TensorBoardWriter(folder / "none"), DataError);
}

// ---- TensorBoard --------------------------------------------------------------------------------

/// CRC-32C bit by bit, by its definition.
std::uint32_t crc32c(const std::string& data) {
  std::uint32_t crc = ~0U;
  for (const char c : data) {
    crc ^= static_cast<unsigned char>(c);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1U) != 0 ? crc >> 1 ^ 0x82F63B78U : crc >> 1;
  }
  return ~crc;
}

template <typename T>
T read_number(const std::string& bytes, std::size_t at) {
  T value{};
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

/// TFRecord: length, its masked checksum, data, their masked checksum.
std::vector<std::string> read_records(const std::string& file) {
  const auto masked = [](const std::string& data) {
    const std::uint32_t crc = crc32c(data);
    return (crc >> 15 | crc << 17) + 0xA282EAD8U;
  };
  std::vector<std::string> records;
  std::size_t at = 0;
  while (at < file.size()) {
    if (at + 12 > file.size()) ADD_FAILURE() << "torn record header at byte " << at;
    const auto length = static_cast<std::size_t>(read_number<std::uint64_t>(file, at));
    EXPECT_EQ(read_number<std::uint32_t>(file, at + 8), masked(file.substr(at, 8)));
    if (at + 16 + length > file.size()) {
      ADD_FAILURE() << "torn record at byte " << at;
      break;
    }
    records.push_back(file.substr(at + 12, length));
    EXPECT_EQ(read_number<std::uint32_t>(file, at + 12 + length), masked(records.back()));
    at += 16 + length;
  }
  return records;
}

/// The fields of a protobuf message: number → raw contents in order.
std::multimap<std::uint64_t, std::string> read_fields(const std::string& message) {
  std::multimap<std::uint64_t, std::string> fields;
  std::size_t at = 0;
  const auto varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0; at < message.size(); shift += 7) {
      const auto byte = static_cast<unsigned char>(message[at++]);
      value |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) break;
    }
    return value;
  };
  while (at < message.size()) {
    const std::uint64_t key = varint();
    switch (key & 7) {
      case 0:
        fields.emplace(key >> 3, std::to_string(varint()));
        break;
      case 1:
        fields.emplace(key >> 3, message.substr(at, 8));
        at += 8;
        break;
      case 2: {
        const auto length = static_cast<std::size_t>(varint());
        fields.emplace(key >> 3, message.substr(at, length));
        at += length;
        break;
      }
      case 5:
        fields.emplace(key >> 3, message.substr(at, 4));
        at += 4;
        break;
      default:
        ADD_FAILURE() << "wire type " << (key & 7);
        return fields;
    }
  }
  return fields;
}

std::vector<std::filesystem::path> event_files(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().filename().string().starts_with("events.out.tfevents."))
      paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Steps of all events with scalars, in the order of files and records.
std::vector<std::string> event_steps(const std::filesystem::path& folder) {
  std::vector<std::string> steps;
  for (const auto& path : event_files(folder)) {
    for (const std::string& record : read_records(read_file(path))) {
      const auto fields = read_fields(record);
      if (fields.contains(5)) steps.push_back(fields.find(2)->second);
    }
  }
  return steps;
}

TEST(Crc32c, IsTheCastagnoliChecksum) { EXPECT_EQ(crc32c("123456789"), 0xE3069283U); }

TEST(TensorBoardWriter, WritesEventsThatAnotherReaderUnderstands) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), true, std::nullopt);
    log.write(1, {{"loss", 2.5}, {"validation/recall@5", 0.75}});
    log.write(300, {{"loss", -1e-3}});
  }
  std::filesystem::path path;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().filename().string().starts_with("events.out.tfevents.")) path = entry.path();
  }
  ASSERT_FALSE(path.empty());
  const std::vector<std::string> records = read_records(read_file(path));
  ASSERT_EQ(records.size(), 3U);
  const auto version = read_fields(records[0]);
  EXPECT_EQ(version.find(3)->second, "brain.Event:2");
  EXPECT_GT(std::bit_cast<double>(read_number<std::uint64_t>(version.find(1)->second, 0)), 1e9)
      << "wall time";
  const auto scalars = [](const std::string& event) {
    std::map<std::string, float> values;
    const auto fields = read_fields(event);
    const auto summary = read_fields(fields.find(5)->second);
    for (auto [it, end] = summary.equal_range(1); it != end; ++it) {
      const auto value = read_fields(it->second);
      values[value.find(1)->second] = read_number<float>(value.find(2)->second, 0);
    }
    return values;
  };
  EXPECT_EQ(read_fields(records[1]).find(2)->second, "1");
  EXPECT_EQ(scalars(records[1]),
            (std::map<std::string, float>{{"loss", 2.5F}, {"validation/recall@5", 0.75F}}));
  EXPECT_EQ(read_fields(records[2]).find(2)->second, "300");
  EXPECT_EQ(scalars(records[2]), (std::map<std::string, float>{{"loss", -1e-3F}}));
}

TEST(TensorBoardWriter, ResumingCutsTheEventsAfterTheStep) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), true, std::nullopt);
    for (std::int64_t step = 1; step <= 5; ++step) log.write(step, {{"loss", 1.0}});
  }
  {
    MetricsLog log(folder.path(), true, LogCut{3});
    for (std::int64_t step = 4; step <= 6; ++step) log.write(step, {{"loss", 1.0}});
  }
  EXPECT_THAT(event_steps(folder.path()), ElementsAre("1", "2", "3", "4", "5", "6"));
  {
    MetricsLog log(folder.path(), true, LogCut{2});
    log.write(3, {{"loss", 1.0}});
  }
  EXPECT_THAT(event_steps(folder.path()), ElementsAre("1", "2", "3"));
}

TEST(TensorBoardWriter, ResumingCutsATornRecord) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), true, std::nullopt);
    for (std::int64_t step = 1; step <= 3; ++step) log.write(step, {{"loss", 1.0}});
  }
  const std::filesystem::path path = event_files(folder.path()).at(0);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  { const MetricsLog log(folder.path(), true, LogCut{9}); }
  EXPECT_THAT(event_steps(folder.path()), ElementsAre("1", "2"));
}

TEST(TensorBoardWriter, AValidationThatWillBeRepeatedIsCut) {
  const TemporaryFolder folder;
  {
    MetricsLog log(folder.path(), true, std::nullopt);
    log.write(1, {{"loss", 1.0}});
    log.write(1, {{"validation/loss", 1.0}});
  }
  { const MetricsLog log(folder.path(), true, LogCut{1, true}); }
  EXPECT_THAT(event_steps(folder.path()), ElementsAre("1"));
}

TEST(TensorBoardWriter, EventsOfARunThatLeftNoCheckpointGo) {
  const TemporaryFolder folder;
  for (int run = 0; run < 2; ++run) {
    MetricsLog log(folder.path(), true, std::nullopt);
    log.write(1, {{"loss", 1.0}});
  }
  EXPECT_THAT(event_steps(folder.path()), ElementsAre("1"));
}

}  // namespace
}  // namespace clara
