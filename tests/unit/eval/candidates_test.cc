// Laws of Normal and Oracle candidates and of the orders that need no model (numerics §9).
#include "clara/eval/candidates.h"

#include <algorithm>
#include <set>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;
using testing::UnorderedElementsAre;

QaRecord record_of(std::vector<std::string> documents, std::vector<std::int32_t> positives = {},
                   std::vector<std::string> gold_documents = {}) {
  QaRecord record;
  record.question = "which?";
  record.documents = std::move(documents);
  record.positives = std::move(positives);
  record.gold_documents = std::move(gold_documents);
  return record;
}

EvalSettings settings_of(EvalSetting setting, DocumentSelector select) {
  EvalSettings settings;
  settings.setting = setting;
  settings.select = select;
  settings.num_selected = 2;
  return settings;
}

const EvalSettings kNormal = settings_of(EvalSetting::kNormal, DocumentSelector::kQueryReasoner);
const EvalSettings kOracle = settings_of(EvalSetting::kOracle, DocumentSelector::kQueryReasoner);
const EvalSettings kOracleGiven = settings_of(EvalSetting::kOracle, DocumentSelector::kGiven);

std::vector<std::string> texts_at(const Candidates& candidates,
                                  const std::vector<std::int32_t>& places) {
  std::vector<std::string> texts;
  for (const std::int32_t k : places) {
    texts.push_back(candidates.documents.at(static_cast<std::size_t>(k)));
  }
  return texts;
}

TEST(NormalCandidates, AreTheRecordsDocumentsInTheirOrder) {
  const Candidates candidates = make_candidates(record_of({"a", "b", "c"}, {2}), kNormal, 0);
  EXPECT_THAT(candidates.documents, ElementsAre("a", "b", "c"));
  EXPECT_THAT(candidates.origins, ElementsAre(0, 1, 2));
  EXPECT_THAT(candidates.positives, ElementsAre(2));
  EXPECT_EQ(candidates.num_gold, 1);
}

TEST(NormalCandidates, GoldDocumentsThatWereNotRetrievedCountAsGold) {
  const Candidates candidates =
      make_candidates(record_of({"a", "b", "c"}, {}, {"b", "missing"}), kNormal, 0);
  EXPECT_THAT(candidates.documents, ElementsAre("a", "b", "c"));
  EXPECT_THAT(candidates.positives, ElementsAre(1));
  EXPECT_EQ(candidates.num_gold, 2);
}

TEST(NormalCandidates, AGoldTextThatPosIndexMarksCountsOnce) {
  const Candidates candidates = make_candidates(record_of({"a", "b"}, {1}, {"b"}), kNormal, 0);
  EXPECT_THAT(candidates.positives, ElementsAre(1));
  EXPECT_EQ(candidates.num_gold, 1);
}

TEST(OracleCandidates, GoldReplacesTheLowestRankedThatAreNotGold) {
  // "e" is gold and stays; "d" and "c" are the lowest-ranked others.
  const Candidates candidates =
      make_candidates(record_of({"a", "b", "c", "d", "e"}, {4}, {"x", "y"}), kOracle, 3);
  EXPECT_THAT(candidates.documents, UnorderedElementsAre("a", "b", "x", "y", "e"));
  EXPECT_THAT(texts_at(candidates, candidates.positives), UnorderedElementsAre("x", "y", "e"));
  EXPECT_EQ(candidates.num_gold, 3);
}

TEST(OracleCandidates, OriginsTellWhereEachCameFrom) {
  const QaRecord record = record_of({"a", "b", "c", "d"}, {}, {"x", "b"});
  const Candidates candidates = make_candidates(record, kOracle, 0);
  for (std::size_t k = 0; k < candidates.documents.size(); ++k) {
    const std::int32_t origin = candidates.origins[k];
    const auto& list = origin >= 0 ? record.documents : record.gold_documents;
    EXPECT_EQ(candidates.documents[k],
              list.at(static_cast<std::size_t>(origin >= 0 ? origin : -1 - origin)));
  }
}

TEST(OracleCandidates, WithMoreGoldThanCandidatesAllGoldIsThere) {
  const Candidates candidates =
      make_candidates(record_of({"a", "b"}, {}, {"x", "y", "z"}), kOracle, 0);
  EXPECT_THAT(candidates.documents, UnorderedElementsAre("x", "y", "z"));
  EXPECT_EQ(candidates.positives.size(), 3u);
}

TEST(OracleCandidates, TheirOrderIsDrawnFromSeedAndRow) {
  const QaRecord record = record_of({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}, {0}, {"x"});
  const Candidates one = make_candidates(record, kOracle, 1);
  EXPECT_EQ(one.documents, make_candidates(record, kOracle, 1).documents);
  EXPECT_NE(one.documents, make_candidates(record, kOracle, 2).documents);
  EvalSettings other_seed = kOracle;
  other_seed.seed = 18;
  EXPECT_NE(one.documents, make_candidates(record, other_seed, 1).documents);
}

TEST(OracleCandidates, GoldStandsEverywhereAlikeOften) {
  // Expected 100 of 1000 at each of 10 places; the bounds are six standard deviations away.
  const QaRecord record = record_of({"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"}, {}, {"x"});
  std::vector<int> hits(10, 0);
  for (std::uint64_t row = 0; row < 1000; ++row) {
    const Candidates candidates = make_candidates(record, kOracle, row);
    ++hits.at(static_cast<std::size_t>(candidates.positives.at(0)));
  }
  for (const int count : hits) {
    EXPECT_GT(count, 43);
    EXPECT_LT(count, 157);
  }
}

TEST(OracleCandidates, WithoutGoldOnlyTheOrderChanges) {
  const Candidates candidates = make_candidates(record_of({"a", "b", "c"}), kOracle, 0);
  EXPECT_THAT(candidates.documents, UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(candidates.positives, IsEmpty());
  EXPECT_EQ(candidates.num_gold, 0);
}

TEST(OracleCandidates, GivenKeepsItsPromptsDocumentsAndPutsGoldAmongThem) {
  // Two documents reach the prompt: the first of the record, and the gold one from rank 4.
  const Candidates candidates =
      make_candidates(record_of({"a", "b", "c", "d"}, {3}), kOracleGiven, 0);
  EXPECT_THAT(candidates.documents, UnorderedElementsAre("a", "d"));
  EXPECT_EQ(texts_at(candidates, candidates.positives), std::vector<std::string>{"d"});
}

TEST(RankCandidates, GivenAndAllKeepTheOrder) {
  const Candidates candidates = make_candidates(record_of({"a", "b", "c"}), kNormal, 0);
  for (const DocumentSelector select : {DocumentSelector::kGiven, DocumentSelector::kAll}) {
    std::vector<float> scores = {1};
    const EvalSettings settings = settings_of(EvalSetting::kNormal, select);
    EXPECT_THAT(rank_candidates(candidates, "q", settings, 0, &scores), ElementsAre(0, 1, 2));
    EXPECT_THAT(scores, IsEmpty());
  }
}

TEST(RankCandidates, RandomIsAPermutationOfItsOwnForEachRow) {
  const Candidates candidates =
      make_candidates(record_of({"a", "b", "c", "d", "e", "f", "g", "h"}), kNormal, 0);
  const EvalSettings settings = settings_of(EvalSetting::kNormal, DocumentSelector::kRandom);
  const auto order = rank_candidates(candidates, "q", settings, 5);
  EXPECT_THAT(order, UnorderedElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_EQ(order, rank_candidates(candidates, "q", settings, 5));
  EXPECT_NE(order, rank_candidates(candidates, "q", settings, 6));
}

TEST(RankCandidates, Bm25PutsSharedWordsFirstAndTiesInOrder) {
  const Candidates candidates =
      make_candidates(record_of({"nothing", "the river Arno", "nobody", "a river"}), kNormal, 0);
  const EvalSettings settings = settings_of(EvalSetting::kNormal, DocumentSelector::kBm25);
  std::vector<float> scores;
  EXPECT_THAT(rank_candidates(candidates, "river Arno", settings, 0, &scores),
              ElementsAre(1, 3, 0, 2));
  ASSERT_EQ(scores.size(), 4u);
  EXPECT_GT(scores[1], scores[3]);
  EXPECT_EQ(scores[0], 0);
}

TEST(RankCandidates, SomeOrdersNeedAModel) {
  const Candidates candidates = make_candidates(record_of({"a"}), kNormal, 0);
  for (const DocumentSelector select : {DocumentSelector::kQueryReasoner, DocumentSelector::kDense,
                                        DocumentSelector::kCrossEncoder}) {
    const EvalSettings settings = settings_of(EvalSetting::kNormal, select);
    EXPECT_THROW(rank_candidates(candidates, "q", settings, 0), Error) << to_string(select);
  }
}

}  // namespace
}  // namespace clara
