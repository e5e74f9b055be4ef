// Laws of BM25: values of the formula computed apart from this code, and what a term is.
#include "clara/retrieval/bm25.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace clara {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<std::string> kDocuments = {"The quick brown fox jumps over the lazy dog",
                                             "A quick, quick rabbit!", "Lazy dogs sleep",
                                             "Nothing here"};

void expect_scores(const Bm25Index& index, const std::string& query,
                   const std::vector<double>& expected) {
  const std::vector<double> scores = index.scores(query);
  ASSERT_EQ(scores.size(), expected.size());
  for (std::size_t i = 0; i < scores.size(); ++i) {
    EXPECT_NEAR(scores[i], expected[i], 1e-8) << query << ", document " << i;
  }
}

// The expected values come from the formula of the header, written down in Python.
TEST(Bm25, EqualsTheTableComputedApart) {
  const Bm25Index index(kDocuments);
  EXPECT_EQ(index.num_documents(), 4);
  expect_scores(index, "quick", {0.223595865, 0.447191729, 0, 0});
  expect_scores(index, "quick Lazy fox", {0.835570053, 0.447191729, 0.364814306, 0});
}

TEST(Bm25, ARepeatedQueryTermCountsAgain) {
  expect_scores(Bm25Index(kDocuments), "quick quick", {0.447191729, 0.894383459, 0, 0});
}

TEST(Bm25, WithoutLengthNormalisationOnlyFrequenciesCount) {
  expect_scores(Bm25Index(kDocuments, {2.0, 0.0}), "quick lazy",
                {0.462098120, 0.346573590, 0.231049060, 0});
}

TEST(Bm25, NothingSharedScoresZero) {
  expect_scores(Bm25Index(kDocuments), "zebra", {0, 0, 0, 0});
  expect_scores(Bm25Index(kDocuments), "", {0, 0, 0, 0});
  expect_scores(Bm25Index({"", "?"}), "a", {0, 0});
  EXPECT_THAT(Bm25Index({}).scores("a"), IsEmpty());
}

TEST(Bm25, ATermOfEveryDocumentStillCounts) {
  for (const double score : Bm25Index({"a b", "a c"}).scores("a")) EXPECT_GT(score, 0);
}

TEST(Bm25Terms, AreLowerCasedRunsOfLettersAndDigits) {
  EXPECT_THAT(bm25_terms("It's the U.S. in 1984-85!"),
              ElementsAre("it", "s", "the", "u", "s", "in", "1984", "85"));
  EXPECT_THAT(bm25_terms("ÉCOLE Straße Ωμέγα"), ElementsAre("école", "straße", "ωμέγα"));
  EXPECT_THAT(bm25_terms("  …—  "), IsEmpty());
}

TEST(Bm25Terms, IllFormedBytesOnlySeparateTerms) {
  EXPECT_THAT(bm25_terms("ab\xFF"
                         "cd\xC3"),
              ElementsAre("ab", "cd"));
}

}  // namespace
}  // namespace clara
