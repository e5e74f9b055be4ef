// Documents out of files, one after another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/data/records.h"

namespace clara {

/// What is read, and how.
struct DocumentSource {
  std::vector<std::string> files;
  DocumentFormat format = DocumentFormat::kTitleNewline;
  bool skips_bad_rows = false;
};

/// A .txt file holds documents with blank lines between them. Every other file is read as a
/// RowStream: of a row the documents are the list `docs`, `context` or `content`, else the text in
/// `text`, `contents`, `document`, `content`, `context` or `passage`, with its `title` where there
/// is one. Memory: the longest row.
class DocumentStream {
 public:
  /// Throws DataError for a file that cannot be read.
  explicit DocumentStream(DocumentSource source);
  ~DocumentStream();

  /// Empty behind the last. Texts are stripped of white space; blank ones are left out. Throws
  /// DataError "file:line: …" for a row without a document, unless bad rows are skipped.
  std::optional<std::string> next();

  std::int64_t num_bytes() const { return num_bytes_; }
  std::int64_t num_bytes_read() const;
  std::int64_t num_bad_rows() const { return num_bad_rows_; }
  /// The first of them.
  const std::vector<std::string>& bad_rows() const { return bad_rows_; }

 private:
  class File;
  class RowFile;
  class TextFile;
  std::unique_ptr<File> open(const std::string& path) const;

  DocumentSource source_;
  std::vector<std::int64_t> sizes_;
  std::size_t next_file_ = 0;
  std::unique_ptr<File> file_;
  std::deque<std::string> documents_;  // of the row read last
  std::int64_t num_bytes_ = 0;
  std::int64_t num_bytes_before_ = 0;
  std::int64_t num_bad_rows_ = 0;
  std::vector<std::string> bad_rows_;
};

}  // namespace clara
