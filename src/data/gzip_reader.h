// Unpacks a gzip file piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "data/input_file.h"
#include <zlib.h>

namespace clara {

/// zlib's state of one gzip file, which may hold several members one after another.
class GzipReader {
 public:
  /// `file` and `path` must outlive the reader.
  GzipReader(const FileDescriptor& file, const std::string& path);
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;
  ~GzipReader();

  /// Fills `output` with unpacked bytes; fewer only at the end, and before the call that throws
  /// CutOffError: what is whole of a file that is cut off is given out first. Throws DataError
  /// "path: byte N: …" for damage.
  std::size_t read(std::vector<char>& output);
  /// Packed bytes that were used up so far.
  std::uint64_t num_packed_bytes() const { return num_read_ - stream_.avail_in; }

 private:
  bool refill();
  void begin_member();
  void inflate_some();
  std::string message(const std::string& expected, const std::string& found) const;

  const FileDescriptor& file_;
  const std::string& path_;
  std::vector<char> input_;
  z_stream stream_{};
  std::uint64_t num_read_ = 0;
  int num_members_ = 0;
  bool in_member_ = false;
  bool at_end_ = false;
};

}  // namespace clara
