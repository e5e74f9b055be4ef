// Answer scores equal those that Python's text functions give (record_answer_metrics.py), and keep
// their laws.
#include "clara/metrics/answer_metrics.h"

#include <array>
#include <fstream>
#include <stdexcept>
#include <vector>

#include "metrics/unicode_text.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

const nlohmann::json& fixture() {
  static const nlohmann::json record = [] {
    std::ifstream file(CLARA_SOURCE_DIR "/tests/fixtures/metrics/answer_metrics.json");
    return nlohmann::json::parse(file);
  }();
  return record;
}

std::array<double, 4> as_array(const AnswerScores& scores) {
  return {scores.exact_match, scores.f1, scores.cover_exact_match, scores.contiguous_cover_match};
}

void expect_near(const AnswerScores& found, const nlohmann::json& expected,
                 const std::string& what) {
  const auto scores = as_array(found);
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(scores[i], expected.at(i).get<double>(), 1e-12) << what << ", score " << i;
  }
}

TEST(AnswerMetrics, EqualPythonsOnRecordedAnswers) {
  const auto& cases = fixture().at("cases");
  ASSERT_GE(cases.size(), 500U);
  for (const auto& one : cases) {
    const auto prediction = one.at("prediction").get<std::string>();
    const auto golds = one.at("golds").get<std::vector<std::string>>();
    const std::string what = one.dump();
    EXPECT_EQ(normalize_answer(prediction), one.at("normalized").get<std::string>()) << what;
    expect_near(score_answer(prediction, golds, GoldProtocol::kFirst), one.at("first"),
                what + " first");
    expect_near(score_answer(prediction, golds, GoldProtocol::kBest), one.at("best"),
                what + " best");
    const AnswerScores single = {exact_match(prediction, golds[0]) ? 1.0 : 0.0,
                                 f1_score(prediction, golds[0]),
                                 cover_exact_match(prediction, golds[0]) ? 1.0 : 0.0,
                                 contiguous_cover_match(prediction, golds[0]) ? 1.0 : 0.0};
    expect_near(single, one.at("first"), what + " single");
  }
}

TEST(AnswerMetrics, TheRecordedAnswersTellTheScoresApart) {
  // Each kind of outcome occurs often enough for the comparison above to mean something.
  std::array<int, 4> positive{};
  int partial = 0;
  int cover_not_contiguous = 0;
  int best_differs = 0;
  for (const auto& one : fixture().at("cases")) {
    const auto first = one.at("first").get<std::vector<double>>();
    for (std::size_t i = 0; i < positive.size(); ++i) positive[i] += first[i] > 0 ? 1 : 0;
    partial += first[1] > 0 && first[1] < 1 ? 1 : 0;
    cover_not_contiguous += first[2] > first[3] ? 1 : 0;
    best_differs += one.at("first") != one.at("best") ? 1 : 0;
  }
  for (const int count : positive) EXPECT_GE(count, 40);
  EXPECT_GE(partial, 40);
  EXPECT_GE(cover_not_contiguous, 10);
  EXPECT_GE(best_differs, 20);
}

/// FNV-1a of what `text_of` gives for every code point.
template <typename F>
std::string digest(F text_of) {
  std::uint64_t value = 0xCBF29CE484222325ULL;
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    for (const char byte : unicode::encode(text_of(c))) {
      value = (value ^ static_cast<unsigned char>(byte)) * 0x100000001B3ULL;
    }
  }
  std::string hex(16, '0');
  for (std::size_t i = 0; i < hex.size(); ++i)
    hex[i] = "0123456789abcdef"[(value >> (60 - 4 * i)) & 0xF];
  return hex;
}

TEST(UnicodeText, EqualsPythonOnEveryCodePoint) {
  const auto& expected = fixture().at("every_code_point");
  const auto lower_with = [](std::u32string before, std::u32string after) {
    return digest([=](char32_t c) { return unicode::to_lower(before + c + after); });
  };
  EXPECT_EQ(lower_with(U"", U""), expected.at("lower"));
  EXPECT_EQ(lower_with(U"", U"Σ"), expected.at("sigma_after"));
  EXPECT_EQ(lower_with(U"A", U"Σ"), expected.at("sigma_after_letter"));
  EXPECT_EQ(lower_with(U"AΣ", U""), expected.at("sigma_before"));
  EXPECT_EQ(digest([](char32_t c) { return std::u32string(unicode::is_space(c) ? U"1" : U"0"); }),
            expected.at("space"));
  EXPECT_EQ(digest([](char32_t c) { return std::u32string(unicode::is_word(c) ? U"1" : U"0"); }),
            expected.at("word"));
}

TEST(UnicodeText, DecodesWhatItEncodesAndReplacesIllFormedBytes) {
  for (char32_t c = 0; c <= 0x10FFFF; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    ASSERT_EQ(unicode::decode(unicode::encode(std::u32string(1, c))), std::u32string(1, c));
  }
  EXPECT_EQ(unicode::decode("a\xffz"), U"a\uFFFDz");
  EXPECT_EQ(unicode::decode("\xC3"), U"\uFFFD");
  EXPECT_EQ(unicode::decode("\xC0\xAF"), U"\uFFFD\uFFFD");
  EXPECT_EQ(unicode::decode("\xED\xA0\x80"), U"\uFFFD\uFFFD\uFFFD");
  EXPECT_EQ(unicode::decode("\xF4\x90\x80\x80"), U"\uFFFD\uFFFD\uFFFD\uFFFD");
}

TEST(NormalizeAnswer, IsIdempotentExceptForTrueAndFalse) {
  for (const auto& one : fixture().at("cases")) {
    const auto normalized = one.at("normalized").get<std::string>();
    EXPECT_EQ(normalize_answer(normalized), normalized);
  }
}

TEST(NormalizeAnswer, SurvivesIllFormedText) {
  EXPECT_EQ(normalize_answer("The \xff End"), "\xEF\xBF\xBD end");
  EXPECT_TRUE(exact_match("\xff", "\xfe"));
}

TEST(CoverExactMatch, AnEmptyGoldNeverMatches) {
  for (const char* gold : {"", " ", "the", "a.", "?!"}) {
    for (const char* prediction : {"", "anything", "the"}) {
      EXPECT_FALSE(cover_exact_match(prediction, gold)) << prediction << " / " << gold;
      EXPECT_FALSE(contiguous_cover_match(prediction, gold)) << prediction << " / " << gold;
    }
  }
}

TEST(CoverExactMatch, CountsARepeatedGoldTokenOnce) {
  EXPECT_TRUE(cover_exact_match("Duran", "Duran Duran"));
  EXPECT_FALSE(contiguous_cover_match("Duran", "Duran Duran"));
}

TEST(AnswerMetrics, BestIsNeverBelowFirstAndContiguousNeverAboveCover) {
  for (const auto& one : fixture().at("cases")) {
    const auto prediction = one.at("prediction").get<std::string>();
    const auto golds = one.at("golds").get<std::vector<std::string>>();
    const auto first = as_array(score_answer(prediction, golds, GoldProtocol::kFirst));
    const auto best = as_array(score_answer(prediction, golds, GoldProtocol::kBest));
    for (std::size_t i = 0; i < first.size(); ++i) EXPECT_GE(best[i], first[i]);
    EXPECT_LE(first[3], first[2]);
  }
}

TEST(AnswerMetrics, RefuseAQuestionWithoutGold) {
  EXPECT_THROW(score_answer("x", {}, GoldProtocol::kFirst), std::invalid_argument);
}

TEST(AnswerSummary, IsTheMeanOfEachScore) {
  EXPECT_EQ(summarize_answers({}).num_questions, 0);
  EXPECT_EQ(summarize_answers({}).mean.f1, 0);
  const std::vector<AnswerScores> scores = {
      {1, 0.5, 0, 1}, {0, 0.25, 0, 1}, {0, 0, 1, 1}, {0, 0, 0, 1}};
  const AnswerSummary summary = summarize_answers(scores);
  EXPECT_EQ(summary.num_questions, 4);
  EXPECT_THAT(as_array(summary.mean), ::testing::ElementsAre(0.25, 0.1875, 0.25, 1));
}

}  // namespace
}  // namespace clara
