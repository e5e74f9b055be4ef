// A file of records as an open descriptor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace clara {

/// A file descriptor that is closed at the end.
class FileDescriptor {
 public:
  explicit FileDescriptor(int number = -1) : number_(number) {}
  FileDescriptor(const FileDescriptor&) = delete;
  FileDescriptor& operator=(const FileDescriptor&) = delete;
  FileDescriptor(FileDescriptor&& other) noexcept;
  FileDescriptor& operator=(FileDescriptor&& other) noexcept;
  ~FileDescriptor();
  int number() const { return number_; }

 private:
  int number_;
};

/// Throws DataError for what is no regular file with at least one byte.
FileDescriptor open_for_reading(const std::string& path);

/// Size now. Throws DataError.
std::uint64_t size_of(const FileDescriptor& file, const std::string& path);

/// Reads up to `num_bytes` at `offset`; fewer only at the end of the file. Throws DataError.
std::size_t read_at(const FileDescriptor& file, const std::string& path, char* data,
                    std::size_t num_bytes, std::uint64_t offset);

}  // namespace clara
