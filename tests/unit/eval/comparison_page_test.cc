// Laws of the page: it is whole, loads nothing, and no text of a result becomes markup or script.
#include "clara/eval/comparison_page.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include "tests/unit/eval/result_files.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/eval/comparison_files.h"

namespace clara {
namespace {

using nlohmann::json;
using testing::HasSubstr;
using testing::Not;

const std::string kHostile =
    "</script><script>alert('x')</script><!-- <img src=x onerror=alert(1)> \" ' & {{data}} "
    "{{style}} \\u003c ]]> \xE2\x80\xA8 \xFF\x01";

/// The data that the page's script reads.
json data_of(const std::string& page) {
  const std::string open = "<script type=\"application/json\" id=\"data\">";
  const std::size_t begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

class Page : public testing::Test {
 protected:
  void add(const std::string& name, const std::vector<Prediction>& predictions,
           const EvalResult& result = make_result()) {
    const auto folder = folder_ / std::to_string(sources_.size());
    write_results(folder, result, predictions);
    sources_.push_back({name, folder});
  }
  Comparison compare(const ExampleLimits& limits = {}) const {
    return compare_methods(collect_method_results(sources_, limits), {"", {100, 0.95, 17}});
  }
  std::string render(const ExampleLimits& limits = {}) const {
    const Comparison comparison = compare(limits);
    return render_comparison_page(comparison, render_charts(comparison, GoldProtocol::kFirst),
                                  GoldProtocol::kFirst);
  }

  TemporaryFolder folder_;
  std::vector<MethodSource> sources_;
};

TEST_F(Page, HoldsEveryPartAndLoadsNothing) {
  add("a", make_predictions("10"));
  const std::string page = render();
  EXPECT_THAT(page, testing::StartsWith("<!DOCTYPE html>"));
  EXPECT_THAT(page, HasSubstr("</html>"));
  EXPECT_THAT(page, Not(HasSubstr("{{")));
  EXPECT_THAT(page, HasSubstr("id=\"chart-recall_hotpotqa_normal\""));
  EXPECT_THAT(page, HasSubstr("default-src 'none'"));
  std::string addresses = page;
  const std::string name_space = "xmlns=\"http://www.w3.org/2000/svg\"";
  for (std::size_t at; (at = addresses.find(name_space)) != std::string::npos;)
    addresses.erase(at, name_space.size());
  for (const char* loading : {"http:", "https:", "//cdn", " src=", "<link", "@import", "url("})
    EXPECT_THAT(addresses, Not(HasSubstr(loading)));
}

TEST_F(Page, PutsTheAnswersOfAllMethodsToAQuestionTogether) {
  add("a", make_predictions("10"));
  add("b", {make_prediction(1, "gold 1", {2, 0, 1, 3})});
  add("a", make_predictions("1"), make_result("hotpotqa", EvalSetting::kOracle));
  const json data = data_of(render());
  ASSERT_EQ(data["questions"].size(), 3u);
  const json& second = data["questions"][1];
  EXPECT_EQ(second["id"], "q1");
  EXPECT_EQ(second["results"][0]["text"], "no idea");
  EXPECT_EQ(second["results"][1]["text"], "gold 1");
  EXPECT_EQ(second["results"][1]["first"], json::array({1.0, 1.0, 1.0}));
  EXPECT_EQ(second["results"][1]["ranking"], json::array({2, 0, 1, 3}));
  EXPECT_TRUE(data["questions"][0]["results"][1].is_null());
  EXPECT_EQ(data["questions"][2]["block"], 1);
  // The same documents of both methods stand in the page once: four of each question.
  EXPECT_EQ(data["documents"].size(), 8u);
  const auto place = second["results"][1]["documents"][0].get<std::size_t>();
  EXPECT_EQ(data["documents"][place], "Title 0\nText of document 1.0");
  EXPECT_EQ(data["blocks"][0]["estimates"][0][0]["value"], 0.5);
  EXPECT_TRUE(data["blocks"][1]["estimates"][1].is_null());
}

TEST_F(Page, SaysHowManyQuestionsItLeavesOut) {
  add("a", make_predictions("101101"));
  EXPECT_EQ(data_of(render())["num_left_out"], 0);
  const json data = data_of(render({2, 2000}));
  EXPECT_EQ(data["questions"].size(), 2u);
  EXPECT_EQ(data["num_left_out"], 4);
}

TEST_F(Page, ShowsHostileTextAsText) {
  Prediction prediction = make_prediction(0, kHostile);
  prediction.id = kHostile;
  prediction.question = kHostile;
  prediction.answers = {kHostile};
  prediction.documents[0] = kHostile;
  EvalResult result = make_result();
  result.settings.benchmark = kHostile;
  add(kHostile, {prediction}, result);
  const std::string page = render();
  // The page's own two scripts, and no further element.
  EXPECT_EQ(count_of(page, "<script"), 2u);
  EXPECT_EQ(count_of(page, "</script"), 2u);
  EXPECT_EQ(count_of(page, "<img"), 0u);
  EXPECT_EQ(count_of(page, "<!--"), 0u);
  const json data = data_of(page);
  std::string expected = kHostile;
  expected.replace(expected.find('\xFF'), 1, "\xEF\xBF\xBD");
  const json& question = data["questions"][0];
  EXPECT_EQ(question["question"], expected);
  EXPECT_EQ(question["answers"][0], expected);
  EXPECT_EQ(question["results"][0]["text"], expected);
  EXPECT_EQ(data["documents"][question["results"][0]["documents"][0].get<std::size_t>()], expected);
  EXPECT_EQ(data["methods"][0]["name"], expected);
}

TEST_F(Page, StandsWithItsTablesAndPlotsInAFolder) {
  add("a", make_predictions("10"));
  const auto folder = folder_ / "out/report";
  prepare_comparison_folder(folder);
  std::filesystem::create_directories(folder / "plots");
  std::ofstream(folder / "plots/recall_gone_normal.svg") << "earlier";
  std::ofstream(folder / "plots/notes.svg") << "the user's";
  const Comparison comparison = compare();
  const auto written = write_comparison(folder, comparison, GoldProtocol::kFirst);
  EXPECT_EQ(written.size(), 5u);
  for (const auto& path : written) EXPECT_GT(std::filesystem::file_size(path), 100u) << path;
  EXPECT_EQ(read_file(folder / "report.html"), render());
  EXPECT_TRUE(std::filesystem::exists(folder / "plots/recall_hotpotqa_normal.svg"));
  EXPECT_FALSE(std::filesystem::exists(folder / "plots/recall_gone_normal.svg"));
  EXPECT_TRUE(std::filesystem::exists(folder / "plots/notes.svg"));
  std::ofstream(folder_ / "file") << "x";
  EXPECT_THROW(prepare_comparison_folder(folder_ / "file"), CheckpointError);
  EXPECT_THROW(prepare_comparison_folder(folder_ / "file/below"), CheckpointError);
}

}  // namespace
}  // namespace clara
