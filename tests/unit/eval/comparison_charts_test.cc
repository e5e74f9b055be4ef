// Laws of the charts: what is drawn of which methods, text that cannot become markup.
#include "clara/eval/comparison_charts.h"

#include <algorithm>
#include <fstream>

#include "eval/line_chart.h"
#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/eval/result_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

class Charts : public testing::Test {
 protected:
  void add(const std::string& name, std::int32_t rate, AnswerContext context,
           const std::string& pattern) {
    EvalResult result = make_result();
    result.origin.compression_rate = rate;
    result.settings.context = context;
    const auto folder =
        folder_ / ("run" + std::to_string(sources_.size())) / "eval/hotpotqa_normal";
    write_results(folder, result, make_predictions(pattern));
    sources_.push_back({name, folder});
  }
  std::vector<RenderedChart> charts() const {
    return render_charts(compare_methods(collect_method_results(sources_), {"", {200, 0.95, 17}}),
                         GoldProtocol::kFirst);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const RenderedChart& chart : charts()) names.push_back(chart.name);
    return names;
  }

  TemporaryFolder folder_;
  std::vector<MethodSource> sources_;
};

TEST_F(Charts, OfRatesNeedTwoOfThem) {
  add("x4", 4, AnswerContext::kLatents, "1110");
  add("text", 4, AnswerContext::kText, "1111");
  EXPECT_THAT(names(), ElementsAre("recall_hotpotqa_normal"));
  add("x16", 16, AnswerContext::kLatents, "1100");
  ASSERT_THAT(names(), ElementsAre("recall_hotpotqa_normal", "f1_by_rate_hotpotqa_normal"));
  const std::string svg = charts()[1].for_page;
  EXPECT_THAT(svg, HasSubstr(">4×</text>"));
  EXPECT_THAT(svg, HasSubstr("x16, rate 16: 50.0 ["));
  EXPECT_EQ(count_of(svg, "<polyline"), 1u);  // both rates are one line
  EXPECT_EQ(count_of(svg, "<circle"), 2u);
  EXPECT_THAT(svg, HasSubstr("stroke-dasharray"));  // full text is a level
  EXPECT_EQ(count_of(charts()[0].for_page, "<polyline"), 3u);
}

TEST_F(Charts, OfTrainingShowTheRunsCurves) {
  add("joint", 16, AnswerContext::kLatents, "10");
  std::ofstream metrics(folder_ / "run0/metrics.jsonl");
  metrics << R"({"step":0,"validation/loss":3,"validation/recall@1":0.5,"validation/recall@5":1})"
          << "\n";
  for (int step = 1; step <= 1000; ++step)
    metrics << R"({"step":)" << step << R"(,"loss":)" << 1.0 / step << "}\n";
  metrics.close();
  EXPECT_THAT(names(), ElementsAre("recall_hotpotqa_normal", "training_loss", "validation_loss",
                                   "validation_recall"));
  // A thousand steps in a few hundred points; two cutoffs in two lines.
  const auto drawn = charts();
  EXPECT_LE(count_of(drawn[1].for_file, ","), 260u);
  EXPECT_EQ(count_of(drawn[3].for_file, "<polyline"), 2u);
}

TEST_F(Charts, EscapeNames) {
  add("<script>alert(1)</script> & \"x\"", 4, AnswerContext::kLatents, "10");
  const RenderedChart chart = charts().front();
  for (const std::string& svg : {chart.for_page, chart.for_file}) {
    EXPECT_THAT(svg, Not(HasSubstr("<script")));
    EXPECT_THAT(svg, HasSubstr("&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot;"));
  }
  EXPECT_THAT(chart.for_file, HasSubstr("<style>"));
  EXPECT_THAT(chart.for_page, Not(HasSubstr("<style>")));
}

TEST(LineChart, DrawsOneValueAndNoneWithoutDividingByZero) {
  LineChart chart;
  chart.series = {{"one", {{3, 2, std::nullopt, "here"}}, false}, {"none", {}, false}};
  const std::string svg = render_svg(chart, ChartUse::kFile);
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("inf")));
  EXPECT_EQ(count_of(svg, "<circle"), 1u);
}

TEST(LineChart, PutsPointsWhereTheirValuesAre) {
  LineChart chart;
  chart.y_range = {0, 100};
  chart.series = {{"s", {{0, 0, std::nullopt, ""}, {1, 100, std::nullopt, ""}}, false}};
  const std::string svg = render_svg(chart, ChartUse::kPage);
  // From the axis' lower left end, a little inside, to the upper right: 230 units higher.
  const std::size_t begin = svg.find("points=\"") + 8;
  double x0 = 0, y0 = 0, x1 = 0, y1 = 0;
  ASSERT_EQ(std::sscanf(svg.c_str() + begin, "%lf,%lf %lf,%lf", &x0, &y0, &x1, &y1), 4);
  EXPECT_LT(x0, x1);
  EXPECT_NEAR(y0 - y1, 230, 0.01);
}

TEST(EscapeMarkup, LeavesNothingThatMarkupWouldRead) {
  EXPECT_EQ(escape_markup("a<b>&\"'\n\x01"), "a&lt;b&gt;&amp;&quot;&#39; \xEF\xBF\xBD");
  EXPECT_EQ(escape_markup("日本 é"), "日本 é");
}

}  // namespace
}  // namespace clara
