// One record file, opened: an index of its rows and a descriptor to read them from.
#pragma once

#include <cstdint>
#include <string>

#include "data/input_file.h"
#include "data/row_scanner.h"

#include "clara/common/content_hash.h"

namespace clara {

/// Rows are read with pread: a file that shrinks while it is used gives an error, not a signal.
class RecordFile {
 public:
  /// `max_rows`: the first rows only; 0 = all. Throws DataError.
  RecordFile(std::string path, std::int64_t max_rows);

  std::int64_t num_rows() const { return index_.size(); }
  /// Hash of the (unpacked) bytes up to the last row.
  const Hash128& content() const { return content_; }
  std::int64_t line(std::int64_t row) const { return index_.line(row); }
  std::int64_t num_bytes(std::int64_t row) const {
    return static_cast<std::int64_t>(index_.span(row).num_bytes);
  }
  /// Throws DataError if the file changed its size since it was opened or cannot be read.
  std::string read(std::int64_t row) const;

 private:
  void scan_plain(RowScanner& scanner, ContentHasher& hasher);
  void scan_gzip(RowScanner& scanner, ContentHasher& hasher);

  std::string path_;
  FileDescriptor descriptor_;  // of .gz: the unpacked copy
  std::uint64_t num_bytes_ = 0;
  RowIndex index_;
  Hash128 content_;
};

}  // namespace clara
