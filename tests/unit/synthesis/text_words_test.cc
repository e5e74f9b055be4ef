// Laws of words in every script.
#include "synthesis/text_words.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace clara {
namespace {

using Words = std::vector<std::string>;

TEST(TextWords, CaseWidthAndPunctuationDoNotCount) {
  EXPECT_EQ(words_of("The  River—Oskel, 1,427!"), (Words{"the", "river", "oskel", "1", "427"}));
  EXPECT_EQ(words_of("STRASSE Straße"), (Words{"strasse", "strasse"}));
  EXPECT_EQ(words_of("ＦＵＬＬ"), Words{"full"});
  EXPECT_EQ(words_of("e\u0301"), words_of("\u00e9"));
  EXPECT_EQ(words_of("हिन्दी भाषा").size(), 2U);
  EXPECT_TRUE(words_of(" -- !? ").empty());
}

TEST(TextWords, ScriptsWithoutBlanksHaveAWordACharacter) {
  EXPECT_EQ(words_of("東京は2021年"), (Words{"東", "京", "は", "2021", "年"}));
}

TEST(TextWords, BytesThatAreNoUtf8AreSkipped) {
  EXPECT_EQ(words_of("a\xFF b\xE9"), (Words{"a", "b"}));
}

TEST(TextWords, Comparisons) {
  const Words words = words_of("one two three two");
  EXPECT_TRUE(contains_run(words, {"two", "three"}));
  EXPECT_FALSE(contains_run(words, {"three", "one"}));
  EXPECT_FALSE(contains_run(words, {}));
  EXPECT_DOUBLE_EQ(share_of_words({"two", "four"}, words), 0.5);
  EXPECT_DOUBLE_EQ(share_of_words({}, words), 0);
  EXPECT_DOUBLE_EQ(jaccard(words, {"one", "five"}), 0.25);
  EXPECT_DOUBLE_EQ(jaccard({}, {}), 0);
  EXPECT_DOUBLE_EQ(share_of_runs({"one", "two", "three", "one"}, words, 2), 2.0 / 3);
  EXPECT_DOUBLE_EQ(share_of_runs({"two", "three"}, words, 4), 1);
  EXPECT_DOUBLE_EQ(share_of_runs({}, words, 4), 0);
}

}  // namespace
}  // namespace clara
