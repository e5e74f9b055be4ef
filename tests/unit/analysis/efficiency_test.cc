// What is measured is counted right; how long it takes is no matter of tests.
#include "clara/analysis/efficiency.h"

#include "tests/support/opened_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/analysis/render_analysis.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::HasSubstr;

TEST(Efficiency, CountsPromptsAndBytes) {
  const OpenedModel opened = testing::random_opened_model(4);
  std::vector<QaRecord> questions(2);
  questions[0].question = "Who wrote book 3?";
  questions[0].documents = {"Author 1 wrote book 3.", "Author 2 wrote book 4.", "No one."};
  questions[1].question = "Where is the river?";
  questions[1].documents = {"South of the town, where the old mill is."};
  EfficiencySettings settings;
  settings.num_selected = 2;
  settings.max_new_tokens = 3;
  settings.repetitions = 1;
  const Efficiency measured = measure_efficiency(opened, questions, settings);
  EXPECT_EQ(measured.num_documents, 4);
  EXPECT_EQ(measured.num_questions, 2);
  EXPECT_EQ(measured.num_memory_tokens, 4);
  EXPECT_EQ(measured.latent_bytes, 4 * opened.model->base().config().hidden_size * 4);
  EXPECT_GT(measured.compress_seconds, 0);
  EXPECT_GT(measured.prefill_seconds, 0);
  EXPECT_GT(measured.text_prefill_seconds, 0);
  EXPECT_GT(measured.prompt_tokens, 2 * 4);
  const std::string table = render_efficiency({measured});
  EXPECT_THAT(table, HasSubstr("text"));
  EXPECT_THAT(efficiency_to_json({measured}), HasSubstr("\"num_documents\": 4"));
}

TEST(Efficiency, RefusesQuestionsWithoutDocuments) {
  const OpenedModel opened = testing::random_opened_model(4);
  EXPECT_THROW(measure_efficiency(opened, {}), DataError);
  std::vector<QaRecord> questions(1);
  questions[0].question = "Who?";
  questions[0].place = {"rows.jsonl", 7};
  try {
    measure_efficiency(opened, questions);
    FAIL() << "expected a DataError";
  } catch (const DataError& error) {
    EXPECT_THAT(error.what(), HasSubstr("rows.jsonl:7: docs:"));
  }
}

}  // namespace
}  // namespace clara
