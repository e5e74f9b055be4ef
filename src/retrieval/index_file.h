// A file of an index while it is written: small pieces, gathered into large writes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "clara/common/atomic_file.h"

namespace clara {

class IndexFile {
 public:
  explicit IndexFile(const std::filesystem::path& path) : file_(path) {}

  void write(std::string_view bytes) {
    buffer_ += bytes;
    num_bytes_ += bytes.size();
    if (buffer_.size() >= kBufferBytes) flush();
  }
  /// The bytes of a plain struct or number, as they are in memory.
  template <class Value>
  void write_value(const Value& value) {
    write({reinterpret_cast<const char*>(&value), sizeof value});
  }
  std::uint64_t num_bytes() const { return num_bytes_; }

  void finish() {
    flush();
    file_.commit();
  }

 private:
  static constexpr std::size_t kBufferBytes = std::size_t{1} << 18;

  void flush() {
    file_.write(buffer_);
    buffer_.clear();
  }

  AtomicFile file_;
  std::string buffer_;
  std::uint64_t num_bytes_ = 0;
};

}  // namespace clara
