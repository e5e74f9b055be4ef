// Sampling, the text of a row, verdicts that outlive the program.
#include "clara/analysis/review_rows.h"

#include <algorithm>
#include <fstream>
#include <set>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

RawRow row(const std::string& text) { return {text, {"rows.jsonl", 3}}; }

TEST(SampleRows, AreDifferentAndGrowFromTheSameBeginning) {
  const std::vector<std::int64_t> few = sample_rows(1000, 10, 17);
  const std::vector<std::int64_t> many = sample_rows(1000, 1000, 17);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), many.begin()));
  EXPECT_EQ(std::set<std::int64_t>(many.begin(), many.end()).size(), 1000U);
  EXPECT_EQ(*std::max_element(many.begin(), many.end()), 999);
  EXPECT_NE(few, sample_rows(1000, 10, 18));
  EXPECT_EQ(sample_rows(3, 10, 17).size(), 3U);
}

TEST(RenderRow, ShowsQuestionsBesideTheirDocument) {
  const std::string text = render_row(row(
      R"({"data_type": "qa", "question": ["Who?", "When?"], "answers": ["Ann", "1866"], "docs": ["Ann came in 1867."]})"));
  EXPECT_THAT(text, AllOf(HasSubstr("rows.jsonl:3\n"), HasSubstr("document    Ann came in 1867.\n"),
                          HasSubstr("question 2  When?\n"), HasSubstr("answer      1866\n")));
  // Of the two answers one is not in the document.
  const std::size_t warning = text.find("word for word");
  EXPECT_NE(warning, std::string::npos);
  EXPECT_EQ(text.find("word for word", warning + 1), std::string::npos);
}

TEST(RenderRow, MarksGoldDocuments) {
  const std::string text = render_row(row(
      R"({"question": "Who?", "answers": ["Ann"], "docs": ["Bob.", "Ann."], "pos_index": [1], "gold_docs": ["Ann.", "Cid."]})"));
  EXPECT_THAT(text, AllOf(HasSubstr("document 1  Bob."), HasSubstr("gold 2      Ann."),
                          HasSubstr("gold, absent Cid.")));
}

TEST(RenderRow, WrapsAtBlanksAndKeepsControlCharactersHarmless) {
  const std::string text = render_row(
      row(R"({"question": "aaaa bbbb cccc dddd eeee ffff", "answers": ["\u001b[31m"], "docs": ["x\u001b[31m"]})"),
      {32, false});
  EXPECT_THAT(text, AllOf(HasSubstr("question    aaaa bbbb cccc dddd \n            eeee ffff\n"),
                          Not(HasSubstr("\x1b"))));
  EXPECT_THAT(render_row(row(R"({"question": "q", "answers": ["a"], "docs": ["a"]})"), {80, true}),
              HasSubstr("\x1b["));
}

TEST(RenderRow, ShowsWhatIsNoRecordWithTheReason) {
  EXPECT_THAT(
      render_row(row(R"({"question": "q"})")),
      AllOf(HasSubstr("error"), HasSubstr("rows.jsonl:3: "), HasSubstr(R"({"question": "q"})")));
}

TEST(ReviewAnswer, IsAWordOrItsFirstLetterAndANote) {
  EXPECT_EQ(parse_review_answer("g").verdict, Verdict::kGood);
  const ReviewAnswer bad = parse_review_answer("  bad  the year is wrong ");
  EXPECT_EQ(bad.kind, ReviewAnswer::Kind::kVerdict);
  EXPECT_EQ(bad.verdict, Verdict::kBad);
  EXPECT_EQ(bad.note, "the year is wrong");
  EXPECT_EQ(parse_review_answer("skip").kind, ReviewAnswer::Kind::kSkip);
  EXPECT_EQ(parse_review_answer("q").kind, ReviewAnswer::Kind::kQuit);
  for (const char* line : {"", "x", "go", "goodness"})
    EXPECT_EQ(parse_review_answer(line).kind, ReviewAnswer::Kind::kUnknown) << line;
}

TEST(VerdictFile, KeepsTheLastVerdictOfARowByItsText) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "verdicts.jsonl";
  {
    VerdictFile verdicts(path);
    verdicts.add(row("{}"), Verdict::kBad, "why \"not\"\n");
    verdicts.add(row("{ }"), Verdict::kUnsure, "");
    verdicts.add(row("{}"), Verdict::kGood, "");
  }
  std::ofstream(path, std::ios::app) << R"({"place":"cut o)";
  VerdictFile(path).add(row("1"), Verdict::kGood, "");  // not behind the torn line
  const VerdictFile again(path);
  RawRow moved = row("{}");
  moved.place.line = 99;
  EXPECT_EQ(again.find(moved), Verdict::kGood);
  EXPECT_EQ(again.find(row("{ }")), Verdict::kUnsure);
  EXPECT_FALSE(again.find(row("[]")).has_value());
  EXPECT_THAT(again.counts(), ElementsAre(2, 0, 1));
  EXPECT_EQ(render_verdict_counts(again.counts()), "2 good, 0 bad, 1 unsure: 66.7 % good");
}

TEST(VerdictFile, RefusesAFileOfAnotherKind) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "rows.jsonl";
  for (const std::string content : {"{\"question\": \"q\"}\n", "{\"question\": \"q\"}", "[]"}) {
    std::ofstream(path) << content;
    try {
      const VerdictFile verdicts(path);
      FAIL() << "expected a DataError";
    } catch (const DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("rows.jsonl:1: "), HasSubstr("--verdicts")));
    }
    EXPECT_EQ(std::filesystem::file_size(path), content.size());
  }
}

}  // namespace
}  // namespace clara
