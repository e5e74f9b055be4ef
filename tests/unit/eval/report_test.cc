// Laws of scores.json and of the report of one evaluation.
#include "clara/eval/report.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::HasSubstr;

EvalResult example() {
  EvalResult result;
  result.origin = {"runs/joint/final", "joint",   120,  "models/base",
                   "data/eval.jsonl",  "float32", "cpu"};
  result.settings.setting = EvalSetting::kOracle;
  result.settings.select = DocumentSelector::kDense;
  result.settings.encoder = "models/minilm";
  result.settings.query_prefix = "query: ";
  result.settings.passage_prefix = "passage: ";
  result.settings.context = AnswerContext::kText;
  result.settings.num_selected = 3;
  result.settings.max_new_tokens = 32;
  result.settings.max_sequence_tokens = 900;
  result.settings.max_rows = 40;
  result.settings.seed = 5;
  result.settings.max_batch_tokens = 4096;
  result.scores.first = {{0.125, 0.25, 0.3, 0.2}, 40};
  result.scores.best = {{0.5, 1.0 / 3, 0.6, 0.55}, 40};
  result.scores.retrieval.recall = {0.1, 0.2, 0.7};
  result.scores.retrieval.precision = {0.05, 0.15, 0.35};
  result.scores.retrieval.num_questions = 38;
  result.scores.retrieval.num_without_gold = 2;
  result.counts = {40, 800, 6, 1, 2, 640, 311};
  result.times = {12.5, 3.0, 8.0};
  return result;
}

void write_result(const std::filesystem::path& folder, const EvalResult& result) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "scores.json") << result_to_json(result);
}

TEST(ScoresFile, ReadsBackToTheSameResult) {
  const TemporaryFolder folder;
  write_result(folder.path(), example());
  const EvalResult read = read_result(folder / "scores.json");
  // Every member is written, so that equal text means equal results.
  EXPECT_EQ(result_to_json(read), result_to_json(example()));
  EXPECT_EQ(read.scores.best.mean.f1, 1.0 / 3);
  EXPECT_EQ(read.settings.select, DocumentSelector::kDense);
  EXPECT_EQ(read.settings.encoder, "models/minilm");
  EXPECT_EQ(read.settings.query_prefix, "query: ");
  EXPECT_EQ(read.settings.passage_prefix, "passage: ");
  EXPECT_EQ(read.origin.step, 120);
  EXPECT_EQ(read.times.generate_seconds, 8.0);
  EXPECT_EQ(scores_to_json(read.scores), scores_to_json(example().scores));
  EXPECT_NE(scores_to_json(read.scores), scores_to_json({}));
}

TEST(ScoresFile, HasTheCompressionRateWhereItIsKnown) {
  const TemporaryFolder folder;
  EvalResult result = example();
  EXPECT_THAT(result_to_json(result), testing::Not(HasSubstr("compression_rate")));
  result.origin.compression_rate = 32;
  result.origin.doc_max_tokens = 256;
  result.origin.context = AnswerContext::kText;
  write_result(folder.path(), result);
  const EvalResult read = read_result(folder / "scores.json");
  EXPECT_EQ(read.origin.compression_rate, 32);
  EXPECT_EQ(read.origin.doc_max_tokens, 256);
  EXPECT_EQ(read.origin.context, AnswerContext::kText);
}

TEST(ScoresFile, FaultsNameFileAndMember) {
  const TemporaryFolder folder;
  const auto fault_of = [&](const std::string& text) -> std::string {
    std::ofstream(folder / "scores.json") << text;
    try {
      read_result(folder / "scores.json");
    } catch (const DataError& error) {
      return error.what();
    }
    return "accepted";
  };
  std::string text = result_to_json(example());
  EXPECT_EQ(fault_of(text), "accepted");
  EXPECT_THAT(fault_of("{"), HasSubstr("scores.json: expected JSON"));
  EXPECT_THAT(fault_of("{}"), HasSubstr("scores.json: format_version: no such member"));
  text.replace(text.find("\"f1\""), 4, "\"f2\"");
  EXPECT_THAT(fault_of(text), HasSubstr("scores.json: scores: first: f1: no such member"));
  text = result_to_json(example());
  text.replace(text.find("\"dense\""), 7, "\"best\"");
  EXPECT_THAT(fault_of(text), HasSubstr("scores.json: settings: select: expected one of"));
}

TEST(SameQuestion, IsDecidedByWhatCanChangeAScore) {
  EvalResult other = example();
  other.settings.max_batch_tokens = 1;
  other.origin.device = "cuda:0";
  other.scores = {};
  EXPECT_TRUE(same_question(example(), other));
  const auto differs = [](auto change) {
    EvalResult changed = example();
    change(changed);
    return !same_question(example(), changed);
  };
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.setting = EvalSetting::kNormal; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.query_prefix = ""; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.passage_prefix = ""; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.encoder = "models/bge"; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.select = DocumentSelector::kAll; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.context = AnswerContext::kLatents; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.num_selected = 4; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.max_new_tokens = 4; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.max_rows = 4; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.settings.seed = 4; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.origin.checkpoint = "runs/tune/final"; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.origin.data = "data/other.jsonl"; }));
  EXPECT_TRUE(differs([](EvalResult& r) { r.origin.dtype = "bfloat16"; }));
}

TEST(Report, ShowsBothProtocolsRetrievalAndTheCountWithoutGold) {
  Prediction example_row;
  example_row.question = "a | b\nc";
  example_row.prediction = "x";
  example_row.answers = {"x"};
  const std::string text = render_report(example(), {example_row});
  EXPECT_THAT(text, HasSubstr("| first gold answer        | 12.50 | 25.00 | 30.00 |"));
  EXPECT_THAT(text, HasSubstr("| best of all gold answers | 50.00 | 33.33 | 60.00 |"));
  EXPECT_THAT(text, HasSubstr("| recall    | 10.00 | 20.00 | 70.00 |"));
  EXPECT_THAT(text, HasSubstr("averaged over the 38 with known gold documents; without: 2."));
  EXPECT_THAT(text, HasSubstr("| a \\| b c |"));
}

}  // namespace
}  // namespace clara
