// The journal after whatever was written to it.
#include "synthesis/synthesis_journal.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Step = TaskState::Step;

const RowKey kRow = {hash_bytes("document"), SynthesisKind::kSimpleQa};
const ChatUsage kUsage = {10, 2};

TaskState state(Step step, std::int64_t round = 1) {
  TaskState made;
  made.step = step;
  made.round = round;
  made.pairs = {{"Who?", "Ada \"A\""}};
  made.missing = {"the year"};
  made.problems = {"too long: Why?"};
  return made;
}

TEST(SynthesisJournal, AnOpenRowIsWhereItWas) {
  const TemporaryFolder folder;
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kWrite, 2), kUsage, {{kLeaked, 3}});
  }
  SynthesisJournal journal(folder.path());
  EXPECT_FALSE(journal.is_finished(kRow));
  EXPECT_EQ(journal.totals().num_answers, 1);
  EXPECT_EQ(journal.totals().prompt_tokens, 10);
  EXPECT_EQ(journal.totals().refused.at(kLeaked), 3);
  const auto open = journal.take_open(kRow);
  ASSERT_TRUE(open);
  EXPECT_EQ(open->step, Step::kWrite);
  EXPECT_EQ(open->round, 2);
  EXPECT_EQ(open->pairs, state(Step::kWrite).pairs);
  EXPECT_EQ(open->missing, state(Step::kWrite).missing);
  EXPECT_EQ(open->problems, state(Step::kWrite).problems);
  EXPECT_FALSE(journal.take_open(kRow));
  EXPECT_FALSE(journal.take_open({kRow.document, SynthesisKind::kComplexQa}));
}

TEST(SynthesisJournal, ACompleteRowWithoutItsTextKeepsItsPairs) {
  const TemporaryFolder folder;
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kVerify), kUsage, {});
    journal.record_answer(kRow, state(Step::kComplete), kUsage, {});
  }
  SynthesisJournal journal(folder.path());
  const auto open = journal.take_open(kRow);
  ASSERT_TRUE(open);
  EXPECT_EQ(open->step, Step::kComplete);
  EXPECT_EQ(open->pairs, state(Step::kVerify).pairs);
}

TEST(SynthesisJournal, FinishedRowsAreFinishedInTheNextRun) {
  const TemporaryFolder folder;
  const RowKey dropped = {kRow.document, SynthesisKind::kParaphrase};
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kComplete), kUsage, {});
    journal.record_row(kRow, state(Step::kComplete), "row one\n");
    TaskState given_up = state(Step::kDropped);
    given_up.reason = kIncomplete;
    journal.record_answer(dropped, given_up, kUsage, {});
    journal.sync();
  }
  SynthesisJournal journal(folder.path());
  EXPECT_TRUE(journal.is_finished(kRow));
  EXPECT_TRUE(journal.is_finished(dropped));
  EXPECT_FALSE(journal.is_finished({kRow.document, SynthesisKind::kComplexQa}));
  EXPECT_EQ(journal.totals().kinds[0].num_kept, 1);
  EXPECT_EQ(journal.totals().kinds[0].rounds.at(1), 1);
  EXPECT_EQ(journal.totals().kinds[2].dropped.at(kIncomplete), 1);
  EXPECT_EQ(read_file(folder / "rows.jsonl"), "row one\n");
  EXPECT_TRUE(journal.meet(kRow.document));
  EXPECT_FALSE(journal.meet(kRow.document));
}

TEST(SynthesisJournal, ARowWithoutItsLineIsCutOff) {
  const TemporaryFolder folder;
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kComplete), kUsage, {});
    journal.record_row(kRow, state(Step::kComplete), "row one\n");
  }
  std::ofstream(folder / "rows.jsonl", std::ios::app) << "row two\n";
  { const SynthesisJournal journal(folder.path()); }
  EXPECT_EQ(read_file(folder / "rows.jsonl"), "row one\n");
}

TEST(SynthesisJournal, TornEndsOfEveryLengthAreCutOff) {
  const TemporaryFolder folder;
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kWrite), kUsage, {});
  }
  const std::string first = read_file(folder / "journal.jsonl");
  for (std::size_t length = 1; length < first.size(); ++length) {
    std::ofstream(folder / "journal.jsonl") << first << first.substr(0, length);
    const SynthesisJournal journal(folder.path());
    EXPECT_EQ(journal.totals().num_answers, 1);
    EXPECT_EQ(read_file(folder / "journal.jsonl"), first);
  }
}

TEST(SynthesisJournal, DamageInTheMiddleIsAnErrorWithItsPlace) {
  const TemporaryFolder folder;
  {
    SynthesisJournal journal(folder.path());
    journal.record_answer(kRow, state(Step::kWrite), kUsage, {});
    journal.record_answer(kRow, state(Step::kVerify), kUsage, {});
  }
  std::string text = read_file(folder / "journal.jsonl");
  text[5] = '\x01';
  std::ofstream(folder / "journal.jsonl") << text;
  try {
    const SynthesisJournal journal(folder.path());
    FAIL();
  } catch (const DataError& error) {
    EXPECT_NE(std::string(error.what()).find("journal.jsonl:1: "), std::string::npos);
  }
  EXPECT_EQ(read_file(folder / "journal.jsonl"), text);
}

}  // namespace
}  // namespace clara
