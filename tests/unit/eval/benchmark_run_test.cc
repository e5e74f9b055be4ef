// Laws of a whole evaluation on a small random base model with a real tokenizer: what is written,
// that it scores again to the same numbers, and what is refused.
#include "clara/eval/benchmark_run.h"

#include <fstream>
#include <numeric>
#include <sstream>

#include "tests/support/opened_model.h"
#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/eval/ask.h"
#include "clara/eval/score.h"

namespace clara {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr std::int32_t kNumMemory = 4;

const OpenedModel& shared_model() {
  static const OpenedModel opened = testing::random_opened_model(kNumMemory);
  return opened;
}

/// Seven rows, four documents each; row 2 has no gold document, row 3 one that was not retrieved.
std::string rows_text() {
  std::ostringstream text;
  for (int row = 0; row < 7; ++row) {
    text << R"({"id": "r)" << row << R"(", "question": "Who wrote book )" << row
         << R"(?", "docs": [)";
    for (int k = 0; k < 4; ++k) {
      text << (k > 0 ? ", " : "") << "\"Author " << (row + k) % 5 << " wrote book " << k
           << (k == 3 ? " and a great many other books that nobody ever read to the end" : "")
           << "\"";
    }
    text << R"(], "answers": ["Author )" << row << R"(", "the author"])";
    if (row == 3) text << R"(, "gold_docs": ["Author 9 wrote book 3"])";
    if (row != 2 && row != 3) text << R"(, "pos_index": [)" << row % 4 << "]";
    text << "}\n";
  }
  return text.str();
}

class BenchmarkRunTest : public ::testing::Test {
 protected:
  BenchmarkRunTest() {
    std::ofstream(folder_ / "eval.jsonl") << rows_text();
    run_.settings.max_new_tokens = 6;
    run_.settings.num_selected = 2;
    run_.origin.checkpoint = "runs/joint/final";
    run_.origin.base = "models/base";
    run_.origin.data = "eval.jsonl";
    run_.output = folder_ / "out";
  }

  RowSource rows(std::int64_t max_rows = 0) const {
    return RowSource({{(folder_ / "eval.jsonl").string(), 1.0, 0}}, max_rows);
  }

  std::vector<Prediction> predictions() const {
    std::ifstream file(run_.output / "predictions.jsonl");
    std::vector<Prediction> all;
    for (std::string line; std::getline(file, line);) {
      all.push_back(parse_prediction(line, "line " + std::to_string(all.size() + 1)));
    }
    return all;
  }

  TemporaryFolder folder_;
  BenchmarkRun run_;
};

TEST_F(BenchmarkRunTest, WritesEveryRowInOrderAndScoresThatCanBeComputedAgain) {
  std::vector<std::int64_t> seen;
  const EvalResult result = run_benchmark(shared_model(), rows(), run_, [&](const EvalProgress& p) {
    EXPECT_EQ(p.num_rows, 7);
    seen.push_back(p.num_done);
  });
  EXPECT_EQ(seen.back(), 7);
  const auto all = predictions();
  ASSERT_EQ(all.size(), 7u);
  for (std::int64_t row = 0; row < 7; ++row) {
    const Prediction& prediction = all[static_cast<std::size_t>(row)];
    EXPECT_EQ(prediction.row, row);
    EXPECT_EQ(prediction.id, "r" + std::to_string(row));
    EXPECT_EQ(prediction.ranking.size(), 4u);
    EXPECT_EQ(prediction.scores.size(), 4u);
    EXPECT_EQ(prediction.documents,
              parse_qa_record(rows().row(row).text, {"eval.jsonl", row + 1}).documents);
    EXPECT_EQ(prediction.ranking, descending_order(prediction.scores));
    EXPECT_THAT(prediction.selected, ElementsAre(prediction.ranking[0], prediction.ranking[1]));
  }
  EXPECT_EQ(result.scores.retrieval.num_questions, 6);
  EXPECT_EQ(result.scores.retrieval.num_without_gold, 1);
  EXPECT_EQ(result.counts.num_rows, 7);
  EXPECT_EQ(result.counts.num_candidates, 28);
  EXPECT_EQ(result.counts.num_cut_documents, 7);       // the fourth document of each row
  EXPECT_EQ(result.counts.num_encoded_documents, 20);  // 5 authors × 4 books, each once
  EXPECT_GT(result.counts.num_generated_tokens, 0);
  EXPECT_EQ(result.origin.stage, "joint");
  EXPECT_EQ(result.origin.dtype, "float32");
  EXPECT_EQ(result.origin.compression_rate, shared_model().description.compression_rate);
  EXPECT_EQ(result.origin.doc_max_tokens, shared_model().description.doc_max_tokens);

  EvalResult again = result;
  again.scores = score_predictions_file(run_.output / "predictions.jsonl");
  EXPECT_EQ(result_to_json(again), result_to_json(result));
  EXPECT_EQ(result_to_json(read_result(run_.output / "scores.json")), result_to_json(result));
  EXPECT_TRUE(std::filesystem::exists(run_.output / "report.md"));
  EXPECT_FALSE(std::filesystem::exists(run_.output / "predictions.partial.jsonl"));
}

TEST_F(BenchmarkRunTest, RunsRepeatExactlyAndBatchesChangeNothing) {
  run_benchmark(shared_model(), rows(), run_);
  const auto first = predictions();
  run_.settings.max_batch_tokens = 50;
  run_benchmark(shared_model(), rows(), run_);
  const auto second = predictions();
  ASSERT_EQ(first.size(), second.size());
  for (std::size_t i = 0; i < first.size(); ++i) {
    EXPECT_EQ(first[i].prediction, second[i].prediction);
    EXPECT_EQ(first[i].ranking, second[i].ranking);
  }
}

TEST_F(BenchmarkRunTest, SelectorsAgreeOnTheAnswerWhereTheyAgreeOnTheDocuments) {
  // With as many slots as candidates, bm25 and query_reasoner differ in the order only; `all` and
  // `given` not at all.
  run_.settings.num_selected = 4;
  run_.settings.select = DocumentSelector::kGiven;
  run_benchmark(shared_model(), rows(), run_);
  const auto given = predictions();
  run_.settings.select = DocumentSelector::kAll;
  run_.overwrite = true;
  run_benchmark(shared_model(), rows(), run_);
  const auto all = predictions();
  for (std::size_t i = 0; i < given.size(); ++i) {
    EXPECT_THAT(given[i].selected, ElementsAre(0, 1, 2, 3));
    EXPECT_EQ(given[i].selected, all[i].selected);
    EXPECT_EQ(given[i].prediction, all[i].prediction);
  }
}

TEST_F(BenchmarkRunTest, OracleHoldsEveryGoldDocument) {
  run_.settings.setting = EvalSetting::kOracle;
  run_benchmark(shared_model(), rows(), run_);
  const auto all = predictions();
  for (const Prediction& prediction : all) {
    EXPECT_EQ(prediction.positives.size(), static_cast<std::size_t>(prediction.num_gold));
  }
  EXPECT_EQ(all[3].num_gold, 1);
  EXPECT_EQ(std::count(all[3].origins.begin(), all[3].origins.end(), -1), 1);
}

TEST_F(BenchmarkRunTest, ContextsOfTextAndNothingUseTheBaseModelAlone) {
  run_.settings.context = AnswerContext::kText;
  run_.settings.select = DocumentSelector::kBm25;
  const EvalResult text = run_benchmark(shared_model(), rows(), run_);
  EXPECT_EQ(text.counts.num_encoded_documents, 0);
  EXPECT_EQ(text.scores.retrieval.num_questions, 6);
  run_.settings.context = AnswerContext::kNone;
  run_.overwrite = true;
  const EvalResult none = run_benchmark(shared_model(), rows(), run_);
  EXPECT_EQ(none.scores.retrieval.num_questions + none.scores.retrieval.num_without_gold, 0);
  for (const Prediction& prediction : predictions()) {
    EXPECT_THAT(prediction.ranking, IsEmpty());
    EXPECT_THAT(prediction.selected, IsEmpty());
  }
}

TEST_F(BenchmarkRunTest, PromptsWithoutRoomTakeFewerDocumentsAndAreCounted) {
  run_.settings.select = DocumentSelector::kAll;
  const EvalResult whole = run_benchmark(shared_model(), rows(), run_);
  EXPECT_EQ(whole.counts.num_shortened_prompts, 0);
  const PromptBuilder prompts(*shared_model().text.tokenizer, shared_model().text.chat_format,
                              shared_model().text.special_tokens, -1, -1, {});
  const auto length =
      static_cast<std::int32_t>(prompts.answer_prompt("Who wrote book 0?", 3).size());
  run_.settings.max_sequence_tokens = length + run_.settings.max_new_tokens;
  run_.overwrite = true;
  const EvalResult shortened = run_benchmark(shared_model(), rows(), run_);
  EXPECT_EQ(shortened.counts.num_shortened_prompts, 7);
  for (const Prediction& prediction : predictions()) {
    EXPECT_THAT(prediction.selected, ElementsAre(0, 1, 2));
  }
  run_.settings.max_sequence_tokens = 10;
  try {
    run_benchmark(shared_model(), rows(), run_);
    FAIL() << "accepted";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("eval.jsonl:1: expected a question whose prompt"));
  }
  // The results of the run before are whole.
  EXPECT_EQ(predictions().size(), 7u);
  EXPECT_TRUE(std::filesystem::exists(run_.output / "scores.json"));
}

TEST_F(BenchmarkRunTest, ResultsOfOtherSettingsAreKeptUnlessOverwritingIsAsked) {
  const EvalResult first = run_benchmark(shared_model(), rows(), run_);
  run_benchmark(shared_model(), rows(), run_);  // the same question again
  run_.settings.max_new_tokens = 3;
  try {
    run_benchmark(shared_model(), rows(), run_);
    FAIL() << "overwritten";
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("results of other settings"));
    EXPECT_THAT(error.what(), HasSubstr("--overwrite"));
  }
  EXPECT_EQ(read_result(run_.output / "scores.json").settings.max_new_tokens, 6);
  run_.overwrite = true;
  run_benchmark(shared_model(), rows(), run_);
  EXPECT_EQ(read_result(run_.output / "scores.json").settings.max_new_tokens, 3);
}

TEST_F(BenchmarkRunTest, AFileInThePlaceOfTheOutputFolderIsRefused) {
  std::ofstream(folder_ / "out") << "x";
  EXPECT_THROW(run_benchmark(shared_model(), rows(), run_), CheckpointError);
  run_.output = folder_ / "out/below";
  EXPECT_THROW(run_benchmark(shared_model(), rows(), run_), CheckpointError);
}

TEST_F(BenchmarkRunTest, AWrongRecordIsFoundBeforeAnythingIsAnswered) {
  std::ofstream(folder_ / "eval.jsonl", std::ios::app) << R"({"question": "q", "docs": ["d"]})"
                                                       << "\n";
  EXPECT_THROW(check_records(rows()), DataError);
  check_records(rows(7));
  EXPECT_THROW(run_benchmark(shared_model(), rows(), run_), DataError);
  EXPECT_FALSE(std::filesystem::exists(run_.output / "predictions.partial.jsonl"));
}

TEST(Ask, AnswersAsTheSameRowOfABenchmarkWould) {
  EvalSettings settings;
  settings.max_new_tokens = 6;
  settings.num_selected = 2;
  const std::vector<std::string> documents = {"Author 0 wrote book 1", "Author 1 wrote book 2",
                                              "Author 2 wrote book 3"};
  const RowAnswer answer = ask(shared_model(), "Who wrote book 2?", documents, settings);
  EXPECT_EQ(answer.ranking, descending_order(answer.scores));
  EXPECT_EQ(answer.selected.size(), 2u);
  RowAnswerer answerer(shared_model(), settings);
  AnswerRequest request{"Who wrote book 2?", {documents, {0, 1, 2}, {}, 0}, 0, "row"};
  AnswerRequest other{"Another question?", {documents, {0, 1, 2}, {}, 0}, 1, "row"};
  EXPECT_EQ(answerer.answer({other, request})[1].text, answer.text);
}

TEST(Ask, NeedsAQuestionAndDocuments) {
  EXPECT_THROW(ask(shared_model(), " \n", {"d"}, {}), DataError);
  EXPECT_THROW(ask(shared_model(), "q", {}, {}), DataError);
  EXPECT_THROW(ask(shared_model(), "q\xFF", {"d"}, {}), DataError);
}

}  // namespace
}  // namespace clara
