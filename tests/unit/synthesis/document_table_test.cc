// The table of documents.
#include "synthesis/document_table.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

namespace clara {
namespace {

TEST(DocumentTable, FlagsStayWithTheirDocuments) {
  DocumentTable table;
  constexpr std::uint64_t kCount = 5000;
  for (std::uint64_t i = 0; i < kCount; ++i)
    table.flags(hash_bytes(std::to_string(i))) = static_cast<std::uint8_t>(i % 7);
  EXPECT_EQ(table.size(), kCount);
  for (std::uint64_t i = 0; i < kCount; ++i)
    ASSERT_EQ(table.flags(hash_bytes(std::to_string(i))), i % 7);
  EXPECT_EQ(table.size(), kCount);
  EXPECT_EQ(table.flags(hash_bytes("another")), 0);
}

TEST(DocumentTable, EqualLowHalvesDoNotCollide) {
  DocumentTable table;
  table.flags({1, 1}) = 1;
  table.flags({1, 2}) = 2;
  table.flags({0, 0}) = 3;
  EXPECT_EQ(table.flags({1, 1}), 1);
  EXPECT_EQ(table.flags({1, 2}), 2);
  EXPECT_EQ(table.flags({0, 0}), 3);
}

}  // namespace
}  // namespace clara
