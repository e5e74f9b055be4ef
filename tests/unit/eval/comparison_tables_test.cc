// Laws of a comparison's tables: what they hold, that they line up and fit, CSV that reads back.
#include "clara/eval/comparison_tables.h"

#include <algorithm>
#include <map>
#include <sstream>

#include "eval/text_table.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/eval/result_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string line_with(const std::string& text, const std::string& part) {
  for (const std::string& line : lines_of(text)) {
    if (line.find(part) != std::string::npos) return line;
  }
  return "no line with " + part;
}

/// Rows of RFC 4180, read by its rules.
std::vector<std::vector<std::string>> read_csv(const std::string& text) {
  std::vector<std::vector<std::string>> rows = {{""}};
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' && is_quoted && i + 1 < text.size() && text[i + 1] == '"') {
      rows.back().back() += text[++i];
    } else if (c == '"') {
      is_quoted = !is_quoted;
    } else if (c == ',' && !is_quoted) {
      rows.back().emplace_back();
    } else if (c == '\n' && !is_quoted) {
      if (i + 1 < text.size()) rows.push_back({""});
    } else {
      rows.back().back() += c;
    }
  }
  return rows;
}

class Tables : public testing::Test {
 protected:
  void add(const std::string& name, const std::string& benchmark, EvalSetting setting,
           const std::string& pattern) {
    const auto folder = folder_ / std::to_string(sources_.size());
    write_results(folder, make_result(benchmark, setting), make_predictions(pattern));
    sources_.push_back({name, folder});
  }
  void add_all(const std::vector<std::string>& benchmarks) {
    for (const std::string& benchmark : benchmarks) {
      for (const EvalSetting setting : {EvalSetting::kNormal, EvalSetting::kOracle}) {
        add("CLaRa, trained jointly at 16×", benchmark, setting, "1111111110");
        add("日本語 BM25", benchmark, setting, "0000000001");
      }
    }
  }
  Comparison compare(const std::string& baseline = "") const {
    return compare_methods(collect_method_results(sources_), {baseline, {2000, 0.95, 17}});
  }

  TemporaryFolder folder_;
  std::vector<MethodSource> sources_;
};

TEST_F(Tables, HoldValueIntervalAndPValueOfEveryMetric) {
  add("a", "hotpotqa", EvalSetting::kNormal, "0000000000");
  add("b", "hotpotqa", EvalSetting::kNormal, "1111111110");
  const std::string text = render_comparison_text(compare("a"), GoldProtocol::kFirst, 120);
  const auto lines = lines_of(text);
  EXPECT_EQ(lines[0], "hotpotqa");
  EXPECT_THAT(lines[1], HasSubstr("Normal"));
  EXPECT_THAT(lines[2], testing::MatchesRegex("method +EM +F1 +CEM +R@1 +R@3 +R@5"));
  const std::string of_b = line_with(text, "90.00");
  EXPECT_THAT(of_b, testing::StartsWith("b "));
  EXPECT_THAT(of_b, HasSubstr("90.00*"));
  EXPECT_THAT(text, HasSubstr("–100.0"));
  EXPECT_THAT(text, HasSubstr("p 0.00"));
  EXPECT_THAT(text, HasSubstr("p 1.000"));  // of recall, which is the same
  EXPECT_THAT(text, HasSubstr("approximate randomisation (2000 draws)"));
  // Without a baseline nothing is tested.
  EXPECT_THAT(render_comparison_text(compare(), GoldProtocol::kFirst, 120), Not(HasSubstr("p 0")));
}

TEST_F(Tables, FitTheirWidthAndLineUp) {
  add_all({"hotpotqa", "musique"});
  for (const std::size_t width : {80, 100, 120, 300}) {
    for (const std::string& baseline : {std::string(), std::string("日本語 BM25")}) {
      const std::string text =
          render_comparison_text(compare(baseline), GoldProtocol::kFirst, width);
      std::size_t end_of_rule = 0;
      for (const std::string& line : lines_of(text)) {
        EXPECT_LE(display_columns(line), width) << line;
        if (line.starts_with("---")) {
          end_of_rule = display_columns(line);
        } else if (end_of_rule > 0 && line.find('.') != std::string::npos &&
                   line.find("percent") == std::string::npos &&
                   line.find("–") != std::string::npos) {
          // The last column ends where the rule ends.
          EXPECT_EQ(display_columns(line), end_of_rule) << text;
        }
        if (line.empty()) end_of_rule = 0;
      }
    }
  }
}

TEST_F(Tables, AreOneWhereAllFitsElseOneForEachBenchmarkElseFurtherOnes) {
  add_all({"hotpotqa", "musique"});
  const auto num_tables = [&](std::size_t width) {
    const auto lines = lines_of(render_comparison_text(compare(), GoldProtocol::kFirst, width));
    return std::count_if(lines.begin(), lines.end(),
                         [](const std::string& line) { return line.starts_with("method"); });
  };
  EXPECT_EQ(num_tables(400), 1);
  EXPECT_EQ(num_tables(200), 2);
  EXPECT_EQ(num_tables(120), 4);
  EXPECT_GT(num_tables(80), 3);
  const std::string wide = render_comparison_text(compare(), GoldProtocol::kFirst, 400);
  EXPECT_THAT(wide, HasSubstr("hotpotqa, Normal"));
  EXPECT_THAT(wide, HasSubstr("musique, Oracle"));
}

TEST_F(Tables, ShowTheChosenProtocol) {
  const auto folder = folder_ / "other";
  auto predictions = make_predictions("00");
  for (Prediction& prediction : predictions) prediction.prediction = prediction.answers[1];
  write_results(folder, make_result(), predictions);
  sources_.push_back({"a", folder});
  EXPECT_THAT(line_with(render_comparison_text(compare(), GoldProtocol::kFirst, 80), "a  "),
              HasSubstr(" 0.00 "));
  EXPECT_THAT(line_with(render_comparison_text(compare(), GoldProtocol::kBest, 80), "a  "),
              HasSubstr("100.00"));
}

TEST_F(Tables, OfMarkdownHoldIntervalsAndDifferences) {
  add("a|b", "hotpotqa", EvalSetting::kNormal, "0000000000");
  add("c", "hotpotqa", EvalSetting::kNormal, "1111111110");
  const std::string text = render_comparison_markdown(compare("a|b"), GoldProtocol::kFirst);
  EXPECT_THAT(text, HasSubstr("## hotpotqa, Normal"));
  EXPECT_THAT(line_with(text, "| a\\|b "), HasSubstr("0.00 [0.0, 0.0]"));
  EXPECT_THAT(line_with(text, "| difference to a\\|b"), HasSubstr("| questions |"));
  EXPECT_THAT(text, HasSubstr("+90.00 [+"));
  for (const std::string& line : lines_of(text)) {
    // Marks of columns: those that are not escaped.
    if (!line.starts_with("| ")) continue;
    std::size_t num_marks = 0;
    for (std::size_t i = 0; i < line.size(); ++i)
      num_marks += line[i] == '|' && (i == 0 || line[i - 1] != '\\') ? 1 : 0;
    EXPECT_EQ(num_marks, 9u) << line;
  }
}

TEST_F(Tables, OfCsvHaveARowForEveryNumberAndReadBack) {
  add("a, \"the first\"", "hotpotqa", EvalSetting::kNormal, "0000000000");
  add("b", "hotpotqa", EvalSetting::kNormal, "1111111110");
  const auto rows = read_csv(comparison_to_csv(compare("a, \"the first\"")));
  ASSERT_EQ(rows.size(), 1u + 2 * kReportMetrics.size());
  std::map<std::string, std::size_t> column;
  for (std::size_t c = 0; c < rows[0].size(); ++c) column[rows[0][c]] = c;
  for (const auto& row : rows) EXPECT_EQ(row.size(), rows[0].size());
  EXPECT_EQ(rows[1][column["method"]], "a, \"the first\"");
  EXPECT_EQ(rows[1][column["p"]], "");
  const auto& of_b = rows[1 + kReportMetrics.size()];
  EXPECT_EQ(of_b[column["metric"]], "exact_match");
  EXPECT_EQ(of_b[column["protocol"]], "first");
  EXPECT_EQ(of_b[column["value"]], "0.900000");
  EXPECT_EQ(of_b[column["n"]], "10");
  EXPECT_EQ(of_b[column["difference"]], "0.900000");
  EXPECT_LT(std::stod(of_b[column["p"]]), 0.02);
  EXPECT_LE(std::stod(of_b[column["lower"]]), 0.9);
  EXPECT_GE(std::stod(of_b[column["upper"]]), 0.9);
  EXPECT_EQ(of_b[column["compression_rate"]], "16");
  EXPECT_EQ(rows.back()[column["metric"]], "recall@5");
  EXPECT_EQ(rows.back()[column["protocol"]], "");
}

}  // namespace
}  // namespace clara
