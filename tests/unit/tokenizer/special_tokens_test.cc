// Laws of the added tokens' names and ids.
#include "clara/tokenizer/special_tokens.h"

#include <gtest/gtest.h>

namespace clara {
namespace {

TEST(SpecialTokens, StandAfterTheBaseVocabularyInOrder) {
  const SpecialTokens tokens{1000, 4};
  EXPECT_EQ(tokens.name(1000), "<MEM0>");
  EXPECT_EQ(tokens.name(1003), "<MEM3>");
  EXPECT_EQ(tokens.name(1004), "<AE>");
  EXPECT_EQ(tokens.name(1005), "<ENC>");
  EXPECT_EQ(tokens.name(1006), "<SEP>");
  EXPECT_EQ(tokens.total_rows(), 1007);
}

TEST(SpecialTokens, OtherIdsHaveNoName) {
  const SpecialTokens tokens{1000, 4};
  EXPECT_EQ(tokens.name(999), "");
  EXPECT_EQ(tokens.name(1007), "");
  EXPECT_EQ(tokens.name(-1), "");
}

}  // namespace
}  // namespace clara
