// Records are whole or not there, also on a disk that is full for a while.
#include "clara/common/append_file.h"

#include <csignal>
#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

/// Files of this process cannot grow beyond `num_bytes` while it lives: a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t num_bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &before_);
    const rlimit limit{num_bytes, before_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileSizeLimit(const FileSizeLimit&) = delete;
  FileSizeLimit& operator=(const FileSizeLimit&) = delete;
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  rlimit before_{};
  void (*handler_)(int);
};

TEST(AppendFile, RecordsReachTheFileAtOnceBehindWhatItHolds) {
  const TemporaryFolder folder;
  std::ofstream(folder / "a") << "old\n";
  AppendFile file(folder / "a");
  EXPECT_EQ(file.append("one\n"), std::nullopt);
  EXPECT_EQ(read_file(folder / "a"), "old\none\n");
  EXPECT_EQ(file.append("two\n"), std::nullopt);
  EXPECT_EQ(file.sync(), std::nullopt);
  EXPECT_EQ(read_file(folder / "a"), "old\none\ntwo\n");
}

TEST(AppendFile, WhatCouldNotBeWrittenIsCutOffAndComesLater) {
  const TemporaryFolder folder;
  AppendFile file(folder / "a");
  EXPECT_EQ(file.append("one\n"), std::nullopt);
  {
    const FileSizeLimit limit(6);  // within the second record
    const auto failure = file.append("two\n");
    ASSERT_TRUE(failure.has_value());
    EXPECT_NE(failure->find("large"), std::string::npos) << *failure;
    EXPECT_EQ(read_file(folder / "a"), "one\n") << "no torn record";
    EXPECT_TRUE(file.append("three\n").has_value());
    EXPECT_TRUE(file.sync().has_value());
    EXPECT_EQ(read_file(folder / "a"), "one\n");
  }
  EXPECT_EQ(file.append("four\n"), std::nullopt);
  EXPECT_EQ(read_file(folder / "a"), "one\ntwo\nthree\nfour\n");
}

TEST(AppendFile, AFolderThatIsNotThereIsAnError) {
  const TemporaryFolder folder;
  EXPECT_THROW(AppendFile(folder / "none" / "a"), Error);
}

}  // namespace
}  // namespace clara
