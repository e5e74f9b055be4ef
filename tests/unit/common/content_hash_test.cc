// Fingerprints: known values, streaming, field separation, files.
#include "clara/common/content_hash.h"

#include <unordered_set>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

std::string pattern(std::size_t num_bytes) {
  std::string bytes(num_bytes, '\0');
  for (std::size_t i = 0; i < num_bytes; ++i) bytes[i] = static_cast<char>(i * 131 + i / 251);
  return bytes;
}

TEST(ContentHash, EqualsThePublishedValueOfTheEmptyInput) {
  EXPECT_EQ(hash_bytes("").hex(), "99aa06d3014798d86001c324468d497f");
}

TEST(ContentHash, DependsOnEveryByteAndOnTheSeed) {
  std::string bytes = pattern(1000);
  std::unordered_set<Hash128> hashes{hash_bytes(bytes), hash_bytes(bytes, 1)};
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
    hashes.insert(hash_bytes(bytes));
    bytes[i] = static_cast<char>(bytes[i] ^ 1);
  }
  EXPECT_EQ(hashes.size(), bytes.size() + 2);
}

TEST(ContentHash, IsTheSameInPieces) {
  const std::string bytes = pattern(5000);
  for (const std::size_t piece : {1U, 7U, 256U, 4999U}) {
    ContentHasher hasher(3);
    for (std::size_t i = 0; i < bytes.size(); i += piece) hasher.update(bytes.substr(i, piece));
    EXPECT_EQ(hasher.digest(), hash_bytes(bytes, 3)) << "pieces of " << piece;
  }
}

TEST(ContentHash, DigestDoesNotEndTheStream) {
  ContentHasher hasher;
  hasher.update("ab");
  EXPECT_EQ(hasher.digest(), hash_bytes("ab"));
  hasher.update("c");
  EXPECT_EQ(hasher.digest(), hash_bytes("abc"));
}

TEST(ContentHash, FieldsKeepTheirBorders) {
  EXPECT_NE(ContentHasher().add_field("ab").add_field("c").digest(),
            ContentHasher().add_field("a").add_field("bc").digest());
  EXPECT_NE(ContentHasher().add_field("").add_field("x").digest(),
            ContentHasher().add_field("x").add_field("").digest());
  EXPECT_EQ(ContentHasher().add_number(0x6162).digest(),
            hash_bytes(std::string("ba\0\0\0\0\0\0", 8)));
  EXPECT_NE(ContentHasher().add_hash({1, 2}).digest(), ContentHasher().add_hash({2, 1}).digest());
}

TEST(ContentHash, HexShowsTheHighHalfFirst) {
  EXPECT_EQ((Hash128{0x0123456789abcdefULL, 0xfedcba9876543210ULL}).hex(),
            "fedcba98765432100123456789abcdef");
}

TEST(ContentHash, OfAFileIsThatOfItsContent) {
  const TemporaryFolder folder;
  for (const std::size_t num_bytes : {0U, 10U, 1U << 20, (1U << 20) + 17}) {
    const std::string bytes = pattern(num_bytes);
    write_file_atomically(folder / "f", bytes);
    EXPECT_EQ(hash_file(folder / "f"), hash_bytes(bytes)) << num_bytes;
  }
  EXPECT_THROW(hash_file(folder / "missing"), DataError);
  EXPECT_THROW(hash_file(folder.path()), DataError);
}

}  // namespace
}  // namespace clara
