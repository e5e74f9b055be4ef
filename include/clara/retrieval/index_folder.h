// The folder of an index over a corpus: made whole or not at all, and checked when it is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "clara/common/folder_lock.h"

namespace clara {

/// Name of the file that describes an index, written last.
inline constexpr const char* kIndexManifestName = "index.json";

/// What index.json says beside the sizes and checksums of the folder's files.
struct IndexManifest {
  std::string kind;                          ///< "bm25", "dense", "latent"
  std::map<std::string, std::string> names;  ///< settings that are names: "analyzer"
  std::map<std::string, double> settings;    ///< settings that are numbers: "k1"
  std::map<std::string, std::int64_t> counts;
  std::vector<std::string> corpus;  ///< files that it was made of, as they were named
};

/// What becomes of the files of a process that ends before commit().
enum class Unfinished {
  kRemoved,  ///< the next process begins anew
  kKept,     ///< it finds them in folder() and goes on
};

/// A folder beside its place, which commit() puts there whole: `.NAME.tmp-PID`, or
/// `.NAME.unfinished` where the work is kept, which one process at a time can use.
class IndexFolderWriter {
 public:
  /// Throws ConfigError if `output` is there already and not to be replaced, or holds something
  /// else than an index; DataError if another process is using a kept one, Error if the folder
  /// cannot be made.
  IndexFolderWriter(std::filesystem::path output, bool replaces,
                    Unfinished unfinished = Unfinished::kRemoved);
  IndexFolderWriter(const IndexFolderWriter&) = delete;
  IndexFolderWriter& operator=(const IndexFolderWriter&) = delete;
  ~IndexFolderWriter();

  /// Where files are written until commit().
  const std::filesystem::path& folder() const { return temporary_; }
  /// Without commit() nothing is kept, whatever was asked for.
  void discard() { unfinished_ = Unfinished::kRemoved; }
  /// Writes index.json about all files in folder() and renames that to its place.
  void commit(const IndexManifest& manifest);

 private:
  std::filesystem::path output_;
  std::filesystem::path temporary_;
  Unfinished unfinished_;
  std::optional<FolderLock> lock_;  // kKept
  bool is_committed_ = false;
};

/// The kind that index.json names; the files are not looked at. Throws DataError where there is no
/// index.json that says so.
std::string index_kind(const std::filesystem::path& folder);

/// Reads index.json and compares the folder's files with it: their sizes, and where
/// `verifies_content` their checksums. Throws DataError with one message: no index, one of another
/// kind or of a newer format, a file that is missing, cut or altered.
IndexManifest open_index_folder(const std::filesystem::path& folder, const std::string& kind,
                                bool verifies_content = true);

}  // namespace clara
