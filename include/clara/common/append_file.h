// A file that records are appended to, whole or not at all, also when the disk is full for a while.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace clara {

/// Appends records. What cannot be written is cut off again, kept in memory and tried first by the
/// next append: the file never holds a torn record that another one follows.
class AppendFile {
 public:
  /// Opens `path`, or creates it; records go behind what it holds. Throws Error with path and
  /// reason.
  explicit AppendFile(std::filesystem::path path);
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;
  ~AppendFile();

  const std::filesystem::path& path() const { return path_; }

  /// Writes what was kept and `record`; they have reached the system when it returns. Returns why
  /// they could not be written.
  std::optional<std::string> append(std::string_view record);
  /// Writes what was kept, and has all of it on the disk. Returns why that failed.
  std::optional<std::string> sync();

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::int64_t size_ = 0;  // of whole records
  std::string unwritten_;
};

}  // namespace clara
