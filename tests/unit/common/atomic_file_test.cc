// Files are whole or absent.
#include "clara/common/atomic_file.h"

#include <csignal>
#include <functional>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using ::testing::HasSubstr;

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(AtomicFile, ReplacesTheContentAndLeavesNothingElse) {
  const TemporaryFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "one");
  const std::string binary("two\0\n\xff", 6);
  write_file_atomically(path, binary);
  EXPECT_EQ(read_file(path), binary);
  write_file_atomically(path, "");
  EXPECT_EQ(read_file(path), "");
  EXPECT_EQ(folder.size(), 1U);
}

TEST(AtomicFile, KeepsTheOldContentUntilItIsCommitted) {
  const TemporaryFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "old");
  {
    AtomicFile file(path);
    file.write("ne");
    file.write("w");
    EXPECT_EQ(read_file(path), "old");
    file.commit();
    EXPECT_EQ(read_file(path), "new");
    EXPECT_THROW(file.write("more"), Error);
    EXPECT_THROW(file.commit(), Error);
  }
  EXPECT_EQ(read_file(path), "new");
}

TEST(AtomicFile, LeavesNothingWithoutCommit) {
  const TemporaryFolder folder;
  { AtomicFile(folder / "a.txt").write("half"); }
  EXPECT_EQ(folder.size(), 0U);
}

TEST(AtomicFile, KeepsTheOldContentWhenTheDiskRefuses) {
  const TemporaryFolder folder;
  const auto path = folder / "a.txt";
  write_file_atomically(path, "old");
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{1000, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const std::string message =
      message_of([&] { write_file_atomically(path, std::string(5000, 'x')); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, HasSubstr(path.string() + ": cannot write: "));
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(folder.size(), 1U);
}

TEST(AtomicFile, NamesThePathAndTheReason) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "missing" / "a.txt";
  EXPECT_THAT(message_of([&] { write_file_atomically(path, "x"); }),
              HasSubstr(path.string() + ": cannot write: No such file or directory"));
  EXPECT_THAT(message_of([&] { write_file_atomically(folder.path(), "x"); }),
              HasSubstr("found a folder"));
  EXPECT_THAT(message_of([&] { sync_path(path); }), HasSubstr(path.string()));
}

TEST(ReadFile, NamesThePathAndTheReason) {
  const TemporaryFolder folder;
  EXPECT_THROW(read_file(folder / "missing"), DataError);
  EXPECT_THAT(message_of([&] { read_file(folder / "missing"); }),
              HasSubstr((folder / "missing").string() + ": cannot read: No such file"));
  EXPECT_THAT(message_of([&] { read_file(folder.path()); }), HasSubstr("directory"));
}

TEST(ReadFile, ReadsFilesThatDoNotTellTheirSize) {
  EXPECT_THAT(read_file("/proc/self/status"), HasSubstr("Name:"));
}

}  // namespace
}  // namespace clara
