// A folder has one holder, and none after the holder's end.
#include "clara/common/folder_lock.h"

#include <optional>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

TEST(FolderLock, HasOneHolderAtATime) {
  const TemporaryFolder folder;
  std::optional<FolderLock> lock(std::in_place, folder.path());
  EXPECT_THROW(FolderLock(folder.path()), Error);
  lock.reset();
  EXPECT_NO_THROW(FolderLock(folder.path()));
  EXPECT_EQ(folder.size(), 0U) << "it leaves no file";
}

}  // namespace
}  // namespace clara
