// Equal folders have equal digests; every kind of difference shows; large files are read once.
#include "clara/common/weights_digest.h"

#include <chrono>
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/safetensors_file.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kLargeBytes = std::size_t{33} << 20;

void write_model(const fs::path& folder, std::size_t num_bytes, char fill,
                 const std::string& tensor = "w") {
  fs::create_directories(folder);
  const std::string data(num_bytes, fill);
  const auto size = static_cast<std::int64_t>(num_bytes);
  write_safetensors(folder / "model.safetensors", {{tensor,
                                                    TensorDtype::kU8,
                                                    {size},
                                                    reinterpret_cast<const std::byte*>(data.data()),
                                                    num_bytes}});
  write_file_atomically(folder / "config.json", "{}");
}

std::size_t count_files(const fs::path& folder) {
  std::size_t count = 0;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    count += entry.is_regular_file();
  return count;
}

TEST(WeightsDigest, CopiesAreEqual) {
  const TemporaryFolder folder;
  write_model(folder / "a", 100, 'x');
  write_model(folder / "b", 100, 'x');
  const WeightsDigest a = digest_weights(folder / "a", {}), b = digest_weights(folder / "b", {});
  EXPECT_EQ(a.layout, b.layout);
  EXPECT_EQ(a.content, b.content);
  EXPECT_FALSE(a.content.empty());
}

TEST(WeightsDigest, EveryDifferenceShows) {
  const TemporaryFolder folder;
  write_model(folder / "a", 100, 'x');
  const WeightsDigest a = digest_weights(folder / "a", {});
  write_model(folder / "byte", 100, 'y');
  EXPECT_EQ(digest_weights(folder / "byte", {}).layout, a.layout);
  EXPECT_NE(digest_weights(folder / "byte", {}).content, a.content);
  write_model(folder / "size", 101, 'x');
  EXPECT_NE(digest_weights(folder / "size", {}).layout, a.layout);
  write_model(folder / "name", 100, 'x', "v");
  EXPECT_NE(digest_weights(folder / "name", {}).layout, a.layout);
  write_model(folder / "config", 100, 'x');
  write_file_atomically(folder / "config" / "config.json", "{ }");
  EXPECT_NE(digest_weights(folder / "config", {}).layout, a.layout);
  write_model(folder / "tokenizer", 100, 'x');
  write_file_atomically(folder / "tokenizer" / "tokenizer.json", "{}");
  EXPECT_NE(digest_weights(folder / "tokenizer", {}).layout, a.layout);
}

TEST(WeightsDigest, ALargeFileIsReadOnceAndAgainWhenItWasWritten) {
  const TemporaryFolder folder;
  const fs::path cache = folder / "cache", model = folder / "model";
  write_model(model, kLargeBytes, 'x');
  const WeightsDigest first = digest_weights(model, cache);
  EXPECT_FALSE(first.content.empty());
  ASSERT_EQ(count_files(cache), 1U);
  // A forged entry proves that the second call believes the cache.
  const fs::path kept = fs::directory_iterator(cache / "weights")->path();
  write_file_atomically(kept, std::string(32, '0'));
  EXPECT_NE(digest_weights(model, cache).content, first.content);
  write_file_atomically(kept, "torn");
  EXPECT_EQ(digest_weights(model, cache).content, first.content);
  write_model(model, kLargeBytes, 'y');
  EXPECT_NE(digest_weights(model, cache).content, first.content);
  EXPECT_EQ(count_files(cache), 2U);
}

TEST(WeightsDigest, WithoutACacheALargeFilesContentIsLeftOut) {
  const TemporaryFolder folder;
  write_model(folder / "model", kLargeBytes, 'x');
  EXPECT_EQ(digest_weights(folder / "model", {}).content, "");
  EXPECT_EQ(digest_weights(folder / "model", "/proc/no/such/folder").content, "");
  EXPECT_FALSE(digest_weights(folder / "model", {}).layout.empty());
}

TEST(WeightsDigest, AFileWithoutHeaderIsNamed) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "model.safetensors", "abc");
  EXPECT_THROW(digest_weights(folder.path(), {}), DataError);
}

}  // namespace
}  // namespace clara
