// Packs bytes as a gzip file while they are written.
#pragma once

#include <functional>
#include <memory>
#include <string_view>

namespace clara {

class GzipWriter {
 public:
  /// `write` gets the packed bytes.
  explicit GzipWriter(std::function<void(std::string_view)> write);
  GzipWriter(const GzipWriter&) = delete;
  GzipWriter& operator=(const GzipWriter&) = delete;
  ~GzipWriter();

  void write(std::string_view bytes);
  /// Writes what is left and the end of the file; exactly once. Without it the file is cut off.
  void finish();

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace clara
