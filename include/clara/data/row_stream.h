// The rows of one file in order, read once, with bounded memory: what conversion reads.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "clara/data/records.h"

namespace clara {

/// A row as the file spells it, without the white space around it.
struct StreamedRow {
  std::string_view text;  ///< valid until the next row is asked for
  RecordPlace place;
  std::uint64_t offset = 0;  ///< of its first byte in the (unpacked) file
  bool is_on_line = true;    ///< place.line counts lines; else the rows before it
  bool has_line_end = true;  ///< false: the file's last line, which no line break ends
};

/// Reads .jsonl, .json arrays and sequences of JSON objects, each also as .gz. Which of them is
/// seen from the first byte that is no white space: '[' starts an array; '{' starts rows of one
/// line each, but in a file named .json (.json.gz), where an object may take several lines. Memory:
/// the longest row, and 16 bytes a row.
class RowStream {
 public:
  /// `keeps_complete`: a file that is cut off ends behind its last whole row instead of throwing.
  /// Throws DataError: no such file, a folder, a pipe, empty.
  explicit RowStream(std::string path, bool keeps_complete = false);
  RowStream(RowStream&&) noexcept;
  RowStream& operator=(RowStream&&) noexcept;
  ~RowStream();

  /// Empty behind the last row. Throws DataError "file: byte N: …": cut off, damaged gzip data,
  /// brackets that do not close, a row of more than 256 MiB, nothing but white space.
  std::optional<StreamedRow> next();

  /// Bytes of the file, and those read so far (of .gz: packed).
  std::uint64_t num_bytes() const;
  std::uint64_t num_bytes_read() const;
  /// Why the file ended too early, once it did.
  const std::optional<std::string>& cut_off() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

}  // namespace clara
