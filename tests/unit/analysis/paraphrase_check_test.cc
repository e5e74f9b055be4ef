// Paraphrases come from the document's own latents and from its follower's.
#include "clara/analysis/paraphrase_check.h"

#include "tests/support/opened_model.h"
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"

namespace clara {
namespace {

const OpenedModel& opened_model() {
  static const OpenedModel opened = testing::random_opened_model(4);
  return opened;
}

std::vector<std::string> documents(int count) {
  std::vector<std::string> texts;
  for (int i = 0; i < count; ++i)
    texts.push_back("Author " + std::to_string(i) + " wrote book " + std::to_string(7 * i % 11));
  return texts;
}

TEST(ParaphraseCheck, TheOtherAnswerIsTheFollowersParaphrase) {
  ParaphraseSettings settings;
  settings.max_new_tokens = 6;
  std::vector<std::int64_t> steps;
  // 18 documents are two groups; the last one's follower is the first.
  const std::vector<ParaphraseCheck> checks = check_paraphrases(
      opened_model(), documents(18), settings, [&](std::int64_t done) { steps.push_back(done); });
  ASSERT_EQ(checks.size(), 18U);
  for (std::size_t i = 0; i < checks.size(); ++i) {
    EXPECT_EQ(checks[i].other_answer, checks[(i + 1) % checks.size()].paraphrase) << i;
    EXPECT_EQ(checks[i].own.rouge_l,
              rouge_scores(checks[i].paraphrase, checks[i].document).rouge_l);
    EXPECT_EQ(checks[i].other_name_recall, name_recall(checks[i].other_answer, checks[i].document));
  }
  EXPECT_EQ(steps, (std::vector<std::int64_t>{16, 18}));
}

TEST(ParaphraseCheck, RefusesWhatCannotBeAsked) {
  ParaphraseSettings settings;
  settings.instruction = 14;
  EXPECT_THROW(check_paraphrases(opened_model(), documents(2), settings), ConfigError);
  EXPECT_THROW(check_paraphrases(opened_model(), documents(1)), DataError);
}

}  // namespace
}  // namespace clara
