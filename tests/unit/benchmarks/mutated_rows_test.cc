// No mutation of a row crashes the readers: it gives a record that the record reader takes, or a
// DataError. Seeds are fixed: a failure repeats.
#include <string>
#include <vector>

#include "tests/unit/benchmarks/benchmark_rows.h"
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/benchmarks/benchmark_record.h"
#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/common/text.h"

namespace clara {
namespace {

using nlohmann::json;

constexpr int kMutationsPerRow = 2000;

// Converts a row as the program does. Returns whether it gave a record or was sound but empty.
bool convert_row(const std::string& text, std::optional<BenchmarkFormat> format) {
  try {
    const BenchmarkRecord record = read_row(text, format);
    if (const auto* scp = std::get_if<ScpRecord>(&record)) {
      parse_scp_record(to_record_line(*scp), {"out.jsonl", 1});
      return true;
    }
    const auto& question = std::get<BenchmarkQuestion>(record);
    const BenchmarkRecordLine line = to_record_line(question, {});
    if (line.num_documents > 0 && !question.answers.empty()) {
      EXPECT_NO_THROW(parse_qa_record(line.json, {"out.jsonl", 1})) << text << line.json;
    }
    return true;
  } catch (const DataError& error) {
    EXPECT_FALSE(find_invalid_utf8(error.what()).has_value()) << text;
    return false;
  }
}

std::string mutated_bytes(std::string text, SeedStream& random) {
  constexpr std::string_view kInteresting = "\"\\{}[],:0-e.u\xFF\xED\xA0\xC3 \n";
  const std::uint64_t num_changes = 1 + random.below(3);
  for (std::uint64_t i = 0; i < num_changes && !text.empty(); ++i) {
    const std::size_t at = random.below(text.size());
    switch (random.below(4)) {
      case 0:
        text[at] = static_cast<char>(random.below(256));
        break;
      case 1:
        text.erase(at, 1 + random.below(8));
        break;
      case 2:
        text.insert(at, 1, kInteresting[random.below(kInteresting.size())]);
        break;
      default:
        text.insert(at, text.substr(random.below(text.size()), random.below(20)));
    }
  }
  return text;
}

std::vector<json*> values_of(json& value) {
  std::vector<json*> all = {&value};
  if (value.is_structured()) {
    for (json& item : value) {
      for (json* below : values_of(item)) all.push_back(below);
    }
  }
  return all;
}

// Another value in the place of one, or a member or item less.
json mutated_values(json row, SeedStream& random) {
  const std::vector<json> kinds = {nullptr,
                                   true,
                                   0,
                                   -1,
                                   1e300,
                                   18446744073709551615ULL,
                                   "",
                                   " \n",
                                   "text",
                                   "\xC3\xA9",
                                   json::array(),
                                   json::object(),
                                   json::array({json::array()}),
                                   json::array({nullptr, 1})};
  const std::vector<json*> values = values_of(row);
  json& value = *values[1 + random.below(values.size() - 1)];
  if (value.is_structured() && !value.empty() && random.below(2) == 0) {
    const auto at = static_cast<std::ptrdiff_t>(random.below(value.size()));
    value.erase(std::next(value.begin(), at));
  } else {
    value = kinds[random.below(kinds.size())];
  }
  return row;
}

TEST(MutatedRows, BytesNeverCrashTheReader) {
  int num_sound = 0;
  for (const auto& [name, row] : rows_of_all_layouts()) {
    SeedStream random(derive_seed(1, row));
    for (int i = 0; i < kMutationsPerRow; ++i) {
      const std::string text = mutated_bytes(row, random);
      num_sound += convert_row(text, parse_benchmark_format(name)) ? 1 : 0;
      convert_row(text, std::nullopt);
      if (HasFailure()) return;  // one row is enough to look at
    }
  }
  EXPECT_GT(num_sound, 1000);  // or the mutations would test the JSON parser only
}

TEST(MutatedRows, ValuesOfOtherTypesNeverCrashTheReader) {
  int num_sound = 0;
  int num_wrong = 0;
  for (const auto& [name, row] : rows_of_all_layouts()) {
    SeedStream random(derive_seed(2, row));
    const json sound = json::parse(row);
    for (int i = 0; i < kMutationsPerRow; ++i) {
      const std::string text = mutated_values(mutated_values(sound, random), random).dump();
      (convert_row(text, parse_benchmark_format(name)) ? num_sound : num_wrong) += 1;
      convert_row(text, std::nullopt);
      if (HasFailure()) return;  // one row is enough to look at
    }
  }
  EXPECT_GT(num_sound, 1000);
  EXPECT_GT(num_wrong, 1000);
}

TEST(MutatedRows, EveryReaderTakesRowsOfEveryOtherLayout) {
  for (const std::string& name : benchmark_format_names()) {
    for (const auto& [other, row] : rows_of_all_layouts()) {
      convert_row(row, parse_benchmark_format(name));
    }
  }
}

TEST(MutatedRows, DeepNestingIsRefusedOrRead) {
  for (const int depth : {100, 1000, 5000, 200000}) {
    const std::string nested = std::string(static_cast<std::size_t>(depth), '[') +
                               std::string(static_cast<std::size_t>(depth), ']');
    std::string row = kHotpotRow;
    row.insert(1, "\"deep\": " + nested + ", ");
    convert_row(row, std::nullopt);
    convert_row(nested, std::nullopt);
  }
}

}  // namespace
}  // namespace clara
