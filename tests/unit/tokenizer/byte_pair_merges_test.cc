// Laws of merging: the order of merges, long words as short ones, unknown bytes, bounded time.
#include "tokenizer/byte_pair_merges.h"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/seeds.h"

namespace clara {
namespace {

using testing::ElementsAre;

BytePairMerges::ByteIds identity() {
  BytePairMerges::ByteIds ids;
  for (int byte = 0; byte < 256; ++byte) {
    const auto i = static_cast<std::size_t>(byte);
    ids.inner[i] = ids.first[i] = ids.last[i] = ids.only[i] = byte;
  }
  return ids;
}

TokenIds encode(const BytePairMerges& merges, std::string_view word) {
  MergeMemory memory;
  TokenIds ids;
  merges.encode(word, memory, ids);
  return ids;
}

// The definition: merge the leftmost pair of the lowest rank until there is none.
TokenIds by_definition(const std::vector<Merge>& merges, std::string_view word) {
  TokenIds ids;
  for (char c : word) ids.push_back(static_cast<unsigned char>(c));
  while (true) {
    std::size_t best_rank = merges.size();
    std::size_t best_place = 0;
    for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
      for (std::size_t rank = 0; rank < best_rank; ++rank) {
        if (merges[rank].left == ids[i] && merges[rank].right == ids[i + 1]) {
          best_rank = rank;
          best_place = i;
        }
      }
    }
    if (best_rank == merges.size()) return ids;
    ids[best_place] = merges[best_rank].merged;
    ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(best_place) + 1);
  }
}

// Random merges over the letters a, b, c: every merge makes a new id.
std::vector<Merge> random_merges(std::uint64_t seed, int count) {
  SeedStream random(seed);
  std::vector<TokenId> symbols = {'a', 'b', 'c'};
  std::vector<Merge> merges;
  while (static_cast<int>(merges.size()) < count) {
    const Merge merge{symbols[random.below(symbols.size())], symbols[random.below(symbols.size())],
                      static_cast<TokenId>(256 + merges.size())};
    const bool is_known = std::any_of(merges.begin(), merges.end(), [&](const Merge& other) {
      return other.left == merge.left && other.right == merge.right;
    });
    if (is_known) continue;
    merges.push_back(merge);
    symbols.push_back(merge.merged);
  }
  return merges;
}

TEST(BytePairMerges, FollowsTheDefinitionOnWordsOfEveryLength) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<Merge> list = random_merges(seed, 40);
    const BytePairMerges merges(identity(), {}, list, {});
    SeedStream random(seed + 1000);
    for (std::size_t length : {1, 2, 3, 7, 29, 30, 31, 63, 64, 65, 66, 150}) {
      std::string word;
      while (word.size() < length) word += static_cast<char>('a' + random.below(3));
      EXPECT_EQ(encode(merges, word), by_definition(list, word)) << "seed " << seed << " " << word;
    }
  }
}

TEST(BytePairMerges, CachedWordsKeepTheirIds) {
  const std::vector<Merge> list = random_merges(3, 30);
  const BytePairMerges merges(identity(), {}, list, {});
  MergeMemory memory;
  SeedStream random(5);
  for (int i = 0; i < 100000; ++i) {
    std::string word;
    const std::uint64_t length = 1 + random.below(12);
    while (word.size() < length) word += static_cast<char>('a' + random.below(3));
    TokenIds ids;
    merges.encode(word, memory, ids);
    if (i % 97 == 0) {
      EXPECT_EQ(ids, by_definition(list, word));
    }
  }
}

TEST(BytePairMerges, OfEqualPairsTheLastCounts) {
  const BytePairMerges merges(identity(), {}, {{'a', 'b', 300}, {'b', 'c', 301}, {'a', 'b', 302}},
                              {});
  EXPECT_THAT(encode(merges, "ab"), ElementsAre(302));
  EXPECT_THAT(encode(merges, "abc"), ElementsAre('a', 301));
}

TEST(BytePairMerges, WholeWordsSkipMerging) {
  const BytePairMerges merges(identity(), {}, {{'a', 'b', 300}}, {{"abc", 400}});
  EXPECT_THAT(encode(merges, "abc"), ElementsAre(400));
  EXPECT_THAT(encode(merges, "abcd"), ElementsAre(300, 'c', 'd'));
}

TEST(BytePairMerges, UnknownBytesAreLeftOutReplacedOrFused) {
  BytePairMerges::ByteIds ids = identity();
  ids.inner['?'] = ids.first['?'] = ids.last['?'] = ids.only['?'] = BytePairMerges::kNoToken;
  EXPECT_THAT(encode(BytePairMerges(ids, {}, {{'a', 'b', 300}}, {}), "a??b?"), ElementsAre(300));
  EXPECT_THAT(encode(BytePairMerges(ids, {500, false}, {}, {}), "a??b?"),
              ElementsAre('a', 500, 500, 'b', 500));
  EXPECT_THAT(encode(BytePairMerges(ids, {500, true}, {}, {}), "a??b?"),
              ElementsAre('a', 500, 'b', 500));
}

TEST(BytePairMerges, MergesAMegabyteWithoutABreak) {
  // Every merge doubles the run: n log n steps; a quadratic algorithm would not come to an end.
  std::vector<Merge> list = {{'a', 'a', 256}};
  for (TokenId id = 256; id < 270; ++id) list.push_back({id, id, id + 1});
  const BytePairMerges merges(identity(), {}, list, {});
  const TokenIds ids = encode(merges, std::string(std::size_t{1} << 20, 'a'));
  EXPECT_EQ(ids, TokenIds(std::size_t{1} << 5, 270));
}

}  // namespace
}  // namespace clara
