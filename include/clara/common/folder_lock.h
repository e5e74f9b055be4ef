// One process at a time in a folder.
#pragma once

#include <filesystem>

namespace clara {

/// Holds a folder until it is destroyed, or its process ends in whatever way. Leaves no file
/// behind.
class FolderLock {
 public:
  /// Throws Error if another process holds the folder. A file system without locks is taken as
  /// unheld.
  explicit FolderLock(const std::filesystem::path& folder);
  FolderLock(const FolderLock&) = delete;
  FolderLock& operator=(const FolderLock&) = delete;
  ~FolderLock();

 private:
  int descriptor_ = -1;
};

}  // namespace clara
