// Files that are either whole or absent, whatever happens while they are written.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// A file written piece by piece to a temporary file beside its place; commit() puts it there
/// whole. Without commit() (an exception, say) the temporary file is removed and the place is
/// untouched.
class AtomicFile {
 public:
  /// Throws Error with path and reason if the folder cannot be written.
  explicit AtomicFile(std::filesystem::path path);
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;
  ~AtomicFile();

  /// Appends bytes. Throws Error (disk full, quota, …).
  void write(const void* data, std::size_t num_bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }

  /// fsync, rename over the path, fsync of the folder. At most once; nothing may be written
  /// afterwards.
  void commit();

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_path_;
  int descriptor_ = -1;
};

/// Writes `content` to a temporary file beside `path`, fsyncs it, renames it over `path` and fsyncs
/// the folder. Throws Error with the path and the reason of the system (disk full, permission).
void write_file_atomically(const std::filesystem::path& path, std::string_view content);

/// Whole content of a file. Throws DataError with path and reason.
std::string read_file(const std::filesystem::path& path);

/// Makes a folder with all above it. Returns those that were not there, the outermost first; a
/// caller that changes its mind removes them. Throws Error with the path and the system's reason.
std::vector<std::filesystem::path> make_folders(const std::filesystem::path& folder);

/// Removes folders that make_folders made, innermost first, where they are still empty.
void remove_empty_folders(const std::vector<std::filesystem::path>& made);

/// fsync of a file or folder. Throws Error.
void sync_path(const std::filesystem::path& path);

}  // namespace clara
