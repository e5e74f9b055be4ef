// Random access to the raw rows of record files: .jsonl, .jsonl.gz, .json arrays.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clara/common/content_hash.h"
#include "clara/config/run_config.h"
#include "clara/data/records.h"

namespace clara {

/// A row as the file spells it, without the white space around it.
struct RawRow {
  std::string text;
  RecordPlace place;
};

/// The rows of one file among all rows.
struct SourceRows {
  std::string path;
  double weight = 1.0;
  std::int64_t first_row = 0;
  std::int64_t num_rows = 0;
  Hash128 content;  ///< of the (unpacked) file up to its last row that is used
};

class RecordFile;

/// All rows of a list of files, in order. Opening reads each file once to find where its rows are
/// and keeps 16 bytes a row; the texts stay on disk (those of .gz in an unpacked temporary file
/// without a name). Blank lines are no rows; a UTF-8 byte order mark is skipped. Any number of
/// threads may read.
class RowSource {
 public:
  /// `max_rows`: of all files together, in their order; 0 = all. Files behind the last row needed
  /// are not opened. Throws DataError: no such file, a folder, no rows, truncated gzip or JSON
  /// arrays (with the byte offset), ….
  explicit RowSource(const std::vector<DataSource>& sources, std::int64_t max_rows = 0);
  RowSource(RowSource&&) noexcept;
  RowSource& operator=(RowSource&&) noexcept;
  ~RowSource();

  std::int64_t size() const { return num_rows_; }
  /// Row `index`, from 0. Throws DataError if its file changed its size since it was opened or
  /// cannot be read, Error for an index out of range.
  RawRow row(std::int64_t index) const;
  /// The place of row `index`, without reading it.
  RecordPlace place(std::int64_t index) const;
  /// Length of row `index`'s text, without reading it.
  std::int64_t num_bytes(std::int64_t index) const;
  /// One entry for each file of the constructor, in its order.
  const std::vector<SourceRows>& sources() const { return sources_; }

 private:
  std::size_t source_of(std::int64_t index) const;

  std::vector<SourceRows> sources_;
  std::vector<std::unique_ptr<RecordFile>> files_;  // null where no row is needed
  std::int64_t num_rows_ = 0;
};

}  // namespace clara
