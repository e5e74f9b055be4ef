// The folder of an index over a corpus: made whole or not at all, and checked when it is opened.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace clara {

/// Name of the file that describes an index, written last.
inline constexpr const char* kIndexManifestName = "index.json";

/// What index.json says beside the sizes and checksums of the folder's files.
struct IndexManifest {
  std::string kind;                          ///< "bm25"
  std::map<std::string, std::string> names;  ///< settings that are names: "analyzer"
  std::map<std::string, double> settings;    ///< settings that are numbers: "k1"
  std::map<std::string, std::int64_t> counts;
  std::vector<std::string> corpus;  ///< files that it was made of, as they were named
};

/// A temporary folder beside its place, which commit() puts there whole. Without commit() it is
/// removed.
class IndexFolderWriter {
 public:
  /// Throws ConfigError if `output` is there already and not to be replaced, or holds something
  /// else than an index; Error if the folder cannot be made.
  IndexFolderWriter(std::filesystem::path output, bool replaces);
  IndexFolderWriter(const IndexFolderWriter&) = delete;
  IndexFolderWriter& operator=(const IndexFolderWriter&) = delete;
  ~IndexFolderWriter();

  /// Where files are written until commit().
  const std::filesystem::path& folder() const { return temporary_; }
  /// Writes index.json about all files in folder() and renames that to its place.
  void commit(const IndexManifest& manifest);

 private:
  std::filesystem::path output_;
  std::filesystem::path temporary_;
  bool is_committed_ = false;
};

/// Reads index.json and compares the folder's files with it: their sizes, and where
/// `verifies_content` their checksums. Throws DataError with one message: no index, one of another
/// kind or of a newer format, a file that is missing, cut or altered.
IndexManifest open_index_folder(const std::filesystem::path& folder, const std::string& kind,
                                bool verifies_content = true);

}  // namespace clara
