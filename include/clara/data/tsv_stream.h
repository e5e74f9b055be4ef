// Rows of tab-separated files, quoted as Python's csv module reads and writes them.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "clara/data/records.h"

namespace clara {

/// One row of a tab-separated file.
struct TsvRow {
  std::vector<std::string> fields;
  RecordPlace place;  ///< the line that the row begins on
};

/// Reads .tsv and .tsv.gz. A field that starts with a double quote ends with the next one that is
/// not doubled, and may hold tabs and line breaks; a quote anywhere else is a character. Lines end
/// with a line feed, or a carriage return before it; empty lines are no rows. Memory: the longest
/// row.
class TsvStream {
 public:
  /// Throws DataError: no such file, a folder, a pipe, empty.
  explicit TsvStream(std::string path);
  TsvStream(TsvStream&&) noexcept;
  TsvStream& operator=(TsvStream&&) noexcept;
  ~TsvStream();

  /// Empty behind the last row. Throws DataError with file and line or byte: a quote that does not
  /// close before the end, a row of more than 256 MiB, damaged or cut off gzip data.
  std::optional<TsvRow> next();

  /// Bytes of the file, and those read so far (of .gz: packed).
  std::uint64_t num_bytes() const;
  std::uint64_t num_bytes_read() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace clara
