// The lens against the output head applied by hand; overlaps on words that are known.
#include "clara/analysis/logit_lens.h"

#include <cmath>

#include "tests/support/opened_model.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "clara/common/error.h"
#include "clara/eval/opened_prompts.h"

namespace clara {
namespace {

constexpr std::int32_t kNumMemory = 4;

const OpenedModel& opened_model() {
  static const OpenedModel opened = testing::random_opened_model(kNumMemory);
  return opened;
}

TEST(LogitLens, ReadsTheMemoryStatesOfTheChosenAdapter) {
  const OpenedModel& opened = opened_model();
  const torch::NoGradGuard no_grad;
  const std::vector<std::string> texts = {"Who wrote book 3?", "Where is the river?"};
  for (const AdapterRole role : {AdapterRole::kQueryReasoner, AdapterRole::kCompressor}) {
    LensSettings settings;
    settings.adapter = role;
    settings.num_top = 3;
    const std::vector<LensReading> readings = logit_lens(opened, texts, settings);
    ASSERT_EQ(readings.size(), 2U);
    for (std::size_t n = 0; n < texts.size(); ++n) {
      const TokenIds input = make_prompt_builder(opened, 1, 0).encoder_ids(texts[n]);
      const torch::Tensor states = opened.model->encode(role, opened.model->pack({&input}))[0];
      const torch::Tensor expected =
          torch::softmax(torch::mm(states, opened.model->base().weights().head.t()), 1);
      ASSERT_EQ(readings[n].text, texts[n]);
      ASSERT_EQ(readings[n].positions.size(), static_cast<std::size_t>(kNumMemory));
      for (std::int64_t m = 0; m < kNumMemory; ++m) {
        const auto& position = readings[n].positions[static_cast<std::size_t>(m)];
        ASSERT_EQ(position.size(), 3U);
        EXPECT_EQ(position[0].id, expected[m].argmax().item<std::int64_t>());
        EXPECT_GE(position[0].probability, position[1].probability);
        for (const LensToken& token : position)
          EXPECT_NEAR(token.probability, expected[m][token.id].item<double>(), 1e-6);
        const double entropy = -(expected[m] * expected[m].log()).sum().item<double>();
        EXPECT_NEAR(readings[n].entropies[static_cast<std::size_t>(m)], entropy, 1e-4);
      }
      double most = 0;
      for (const LensToken& token : readings[n].positions[0])
        most = std::max(most, token.probability);
      EXPECT_GE(readings[n].overall.front().probability * kNumMemory, most - 1e-9);
    }
  }
}

TEST(LogitLens, RefusesWhatItCannotRead) {
  LensSettings settings;
  settings.num_top = 0;
  EXPECT_THROW(logit_lens(opened_model(), {"a"}, settings), ConfigError);
  settings.num_top = 1 << 20;
  EXPECT_THROW(logit_lens(opened_model(), {"a"}, settings), ConfigError);
  EXPECT_THROW(logit_lens(opened_model(), {}), DataError);
  EXPECT_THROW(logit_lens(opened_model(), {""}), DataError);
}

LensReading reading_of(const std::vector<std::string>& tokens) {
  LensReading reading;
  auto& position = reading.positions.emplace_back();
  for (std::size_t i = 0; i < tokens.size(); ++i)
    position.push_back({static_cast<TokenId>(i), tokens[i], 0.1});
  return reading;
}

TEST(LensOverlap, SaysWhereTheWordsComeFrom) {
  // "it" is too short, "!!!" no word; "Foot" begins "football", which only the evidence has.
  const LensReading reading = reading_of({" river", " Foot", "!!!", " it", " moon", " stone"});
  const LensOverlap overlap =
      lens_overlap(reading, "Which river is it?", {"A football club by the river."}, {"Moonlight"});
  EXPECT_EQ(overlap.num_words, 4);
  EXPECT_DOUBLE_EQ(overlap.in_question, 0.25);
  EXPECT_DOUBLE_EQ(overlap.in_evidence_only, 0.25);
  EXPECT_DOUBLE_EQ(overlap.in_other_only, 0.25);
  EXPECT_EQ(lens_overlap(reading_of({"?"}), "a", {}, {}).num_words, 0);
}

}  // namespace
}  // namespace clara
