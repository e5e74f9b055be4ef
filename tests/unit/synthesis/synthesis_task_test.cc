// The loop of one row: write, check, judge, complete.
#include "synthesis/synthesis_task.h"

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "clara/data/records.h"

namespace clara {
namespace {

using testing::HasSubstr;
using Step = TaskState::Step;

constexpr const char* kDocument = "Mara Tolvek was born in Belmar in 1827 and drew maps of Oskel.";

class TaskTest : public testing::Test {
 protected:
  TaskTest() : prompts_(std::filesystem::path(CLARA_SOURCE_DIR) / "configs/synthesis") {
    settings_.max_rounds = 3;
  }
  SynthesisTask task(SynthesisKind kind, TaskState state = {}) const {
    return {kDocument, kind, settings_, prompts_, std::move(state)};
  }
  static ChatReply answer(const std::string& text, const std::string& finish_reason = "stop") {
    ChatReply reply;
    reply.text = text;
    reply.finish_reason = finish_reason;
    return reply;
  }
  static ChatReply pair(const std::string& question, const std::string& text) {
    return answer(nlohmann::json{{"question", question}, {"answer", text}}.dump());
  }
  static ChatReply verdict(const std::string& missing, const std::string& wrong = "[]") {
    return answer(R"({"missing": )" + missing + R"(, "wrong": )" + wrong + R"(, "complete": )" +
                  (missing == "[]" && wrong == "[]" ? "true}" : "false}"));
  }

  SynthesisSettings settings_;
  SynthesisPrompts prompts_;
};

TEST_F(TaskTest, ACompleteSetIsKeptAfterTheFirstRound) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  EXPECT_THAT(row.next_request().user, HasSubstr(kDocument));
  EXPECT_TRUE(row.accept(pair("Where was Mara Tolvek born?", "Belmar")).empty());
  EXPECT_EQ(row.state().step, Step::kVerify);
  EXPECT_THAT(row.next_request().user, HasSubstr("1. Question: Where was Mara"));
  row.accept(verdict("[]"));
  EXPECT_EQ(row.state().step, Step::kComplete);
  EXPECT_EQ(row.state().round, 1);
  EXPECT_TRUE(row.is_done());
}

TEST_F(TaskTest, WhatIsMissingIsAskedForAndAdded) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(pair("Where was Mara Tolvek born?", "Belmar"));
  row.accept(verdict(R"(["the year of birth"])"));
  EXPECT_EQ(row.state().round, 2);
  const std::string request = row.next_request().user;
  EXPECT_THAT(request, HasSubstr("- the year of birth"));
  EXPECT_THAT(request, HasSubstr("Where was Mara Tolvek born?"));
  row.accept(pair("When was Mara Tolvek born?", "1827"));
  EXPECT_EQ(row.state().pairs.size(), 2U);
  row.accept(verdict("[]"));
  EXPECT_EQ(row.state().step, Step::kComplete);
  EXPECT_EQ(row.state().round, 2);
}

TEST_F(TaskTest, NeverCompleteIsDroppedAfterMaxRounds) {
  SynthesisTask row = task(SynthesisKind::kComplexQa);
  row.accept(pair("Where was the drawer of maps born?", "Belmar"));
  row.accept(verdict(R"(["a"])"));
  row.accept(pair("When did the drawer of maps come to the world?", "1827"));
  row.accept(verdict(R"(["a"])"));
  row.accept(pair("Of what did the one from Belmar draw?", "Oskel"));
  EXPECT_FALSE(row.is_done());
  row.accept(verdict(R"(["a"])"));
  EXPECT_EQ(row.state().step, Step::kDropped);
  EXPECT_EQ(row.state().reason, kIncomplete);
  EXPECT_EQ(row.state().round, 3);
}

TEST_F(TaskTest, ARoundWithNothingNewIsNotJudgedAgain) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(pair("Where was Mara Tolvek born?", "Belmar"));
  row.accept(verdict(R"(["a"])"));
  EXPECT_EQ(row.accept(pair("Where was Mara Tolvek born?", "Belmar")),
            (RefusedCounts{{kRepeated, 1}}));
  EXPECT_EQ(row.state().step, Step::kWrite);
  EXPECT_EQ(row.state().round, 3);
  EXPECT_THAT(row.next_request().user, HasSubstr("- question repeated: Where was Mara"));
}

TEST_F(TaskTest, PairsThatAreJudgedWrongGo) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(answer(R"([{"question": "Where was she born?", "answer": "Oskel"},
                        {"question": "When was Mara Tolvek born?", "answer": "1827"}])"));
  EXPECT_EQ(row.accept(verdict("[]", "[1]")), (RefusedCounts{{kJudgedWrong, 1}}));
  ASSERT_EQ(row.state().pairs.size(), 1U);
  EXPECT_EQ(row.state().pairs[0].answer, "1827");
  EXPECT_THAT(row.next_request().user, HasSubstr("not what the text says: Where was she born?"));
}

TEST_F(TaskTest, AMalformedVerdictIsAskedForAgainWithoutWritingAnew) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(pair("Where was Mara Tolvek born?", "Belmar"));
  const std::uint64_t seed = row.next_request().seed;
  row.accept(answer("fine"));
  EXPECT_EQ(row.state().step, Step::kVerify);
  EXPECT_EQ(row.state().round, 2);
  EXPECT_NE(row.next_request().seed, seed);
  row.accept(answer("fine"));
  row.accept(answer("fine"));
  EXPECT_EQ(row.state().step, Step::kDropped);
  EXPECT_EQ(row.state().reason, kMalformedVerdict);
}

TEST_F(TaskTest, ReasonsOfRowsThatComeToNothing) {
  settings_.max_rounds = 1;
  const auto reason = [&](SynthesisKind kind, const ChatReply& reply) {
    SynthesisTask row = task(kind);
    row.accept(reply);
    EXPECT_EQ(row.state().step, Step::kDropped);
    return row.state().reason;
  };
  EXPECT_EQ(reason(SynthesisKind::kSimpleQa, answer("no")), kMalformedAnswer);
  EXPECT_EQ(reason(SynthesisKind::kSimpleQa, answer("{\"pairs\": [", "length")), kCutOffAnswer);
  EXPECT_EQ(reason(SynthesisKind::kSimpleQa, pair("Who?", "Ferdinand")), kNoPair);
  EXPECT_EQ(reason(SynthesisKind::kParaphrase, answer("")), kMalformedAnswer);
  EXPECT_EQ(
      reason(SynthesisKind::kParaphrase, answer(nlohmann::json{{"paraphrase", kDocument}}.dump())),
      kTooClose);
  ChatReply refused;
  refused.status = ChatReply::Status::kRefused;
  EXPECT_EQ(reason(SynthesisKind::kComplexQa, refused), kRefusedRequest);
}

TEST_F(TaskTest, AParaphraseIsReplacedByItsBetterVersion) {
  SynthesisTask row = task(SynthesisKind::kParaphrase);
  row.accept(answer(
      R"({"paraphrase": "Belmar, in 1827: there Mara Tolvek came to the world. Maps of her show Oskel."})"));
  row.accept(verdict("[]", R"(["that she travelled"])"));
  const std::string request = row.next_request().user;
  EXPECT_THAT(request, HasSubstr("Maps of her show Oskel."));
  EXPECT_THAT(request, HasSubstr("- the text does not say: that she travelled"));
  row.accept(answer(
      R"({"paraphrase": "Of Oskel there are maps that Mara Tolvek drew. Her birth was 1827, in Belmar."})"));
  row.accept(verdict("[]"));
  EXPECT_EQ(row.state().step, Step::kComplete);
  const std::string line = synthesis_row(row, hash_bytes(kDocument));
  const ScpRecord record = parse_scp_record(line, {"row", 1});
  EXPECT_EQ(record.kind, ScpRecord::Kind::kParaphrase);
  EXPECT_EQ(record.document, kDocument);
  EXPECT_THAT(record.answers.at(0), HasSubstr("Her birth was 1827"));
}

TEST_F(TaskTest, TheRowOfQuestionsIsARecord) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(pair("Where was Mara \"Tolvek\" born?", "Belmar"));
  row.accept(verdict("[]"));
  const ScpRecord record = parse_scp_record(synthesis_row(row, hash_bytes(kDocument)), {"row", 1});
  EXPECT_EQ(record.kind, ScpRecord::Kind::kQa);
  EXPECT_EQ(record.questions, std::vector<std::string>{"Where was Mara \"Tolvek\" born?"});
  EXPECT_EQ(record.answers, std::vector<std::string>{"Belmar"});
}

TEST_F(TaskTest, ATaskGoesOnFromAKeptState) {
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  row.accept(pair("Where was Mara Tolvek born?", "Belmar"));
  const SynthesisTask later = task(SynthesisKind::kSimpleQa, row.state());
  EXPECT_EQ(later.next_request().user, row.next_request().user);
  EXPECT_EQ(later.next_request().seed, row.next_request().seed);
}

TEST_F(TaskTest, MaxPairsHolds) {
  settings_.num_pairs = settings_.max_pairs = 1;
  SynthesisTask row = task(SynthesisKind::kSimpleQa);
  EXPECT_EQ(row.accept(answer(R"([{"question": "Where was she born?", "answer": "Belmar"},
                                  {"question": "When did she come to the world?", "answer": "1827"}])")),
            (RefusedCounts{{kTooMany, 1}}));
  EXPECT_EQ(row.state().pairs.size(), 1U);
}

}  // namespace
}  // namespace clara
