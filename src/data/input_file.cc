// Opening and reading, with messages that say what was found instead of a file of records.
#include "data/input_file.h"

#include <cerrno>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {
namespace {

std::string system_reason() { return std::strerror(errno); }

}  // namespace

FileDescriptor::FileDescriptor(FileDescriptor&& other) noexcept
    : number_(std::exchange(other.number_, -1)) {}

FileDescriptor& FileDescriptor::operator=(FileDescriptor&& other) noexcept {
  std::swap(number_, other.number_);
  return *this;
}

FileDescriptor::~FileDescriptor() {
  if (number_ >= 0) ::close(number_);
}

FileDescriptor open_for_reading(const std::string& path) {
  // Without O_NONBLOCK, opening a pipe would wait for a writer before it can be refused.
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.number() < 0) {
    if (errno == ENOENT || errno == ENOTDIR) {
      throw DataError(path +
                      ": expected a file of records, found no such file; check the path (relative "
                      "paths start at the current folder)");
    }
    throw DataError(path + ": cannot be opened: " + system_reason());
  }
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) {
    throw DataError(path + ": cannot be examined: " + system_reason());
  }
  if (S_ISDIR(status.st_mode)) {
    throw DataError(path +
                    ": expected a file of records, found a folder; list its files one by one");
  }
  if (!S_ISREG(status.st_mode)) {
    throw DataError(path +
                    ": expected a regular file, found a pipe or device; write the records to a "
                    "file first");
  }
  if (status.st_size == 0) throw DataError(path + ": expected records, found an empty file");
  return file;
}

std::uint64_t size_of(const FileDescriptor& file, const std::string& path) {
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) {
    throw DataError(path + ": cannot be examined: " + system_reason());
  }
  return static_cast<std::uint64_t>(status.st_size);
}

std::size_t read_at(const FileDescriptor& file, const std::string& path, char* data,
                    std::size_t num_bytes, std::uint64_t offset) {
  std::size_t done = 0;
  while (done < num_bytes) {
    const ssize_t got =
        ::pread(file.number(), data + done, num_bytes - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      throw DataError(path + ": byte " + std::to_string(offset + done) +
                      ": cannot be read: " + system_reason());
    }
    if (got == 0) break;
    done += static_cast<std::size_t>(got);
  }
  return done;
}

}  // namespace clara
