// Appending with POSIX calls: a stream would not tell what reached the file.
#include "clara/common/append_file.h"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {

AppendFile::AppendFile(std::filesystem::path path)
    : path_(std::move(path)),
      descriptor_(::open(path_.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0666)) {
  struct stat status {};
  if (descriptor_ < 0 || ::fstat(descriptor_, &status) != 0) {
    const std::string reason = std::strerror(errno);
    if (descriptor_ >= 0) ::close(descriptor_);
    throw Error(path_.string() + ": cannot be written: " + reason);
  }
  size_ = status.st_size;
}

AppendFile::~AppendFile() { ::close(descriptor_); }

std::optional<std::string> AppendFile::append(std::string_view record) {
  unwritten_ += record;
  std::size_t done = 0;
  while (done < unwritten_.size()) {
    const ssize_t put = ::pwrite(descriptor_, unwritten_.data() + done, unwritten_.size() - done,
                                 size_ + static_cast<std::int64_t>(done));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) {
      const std::string reason = std::strerror(errno);
      // Cutting needs no room; where it fails all the same, the next append writes over the piece.
      if (done > 0 && ::ftruncate(descriptor_, size_) != 0)
        return reason + " (and a torn record was left)";
      return reason;
    }
    done += static_cast<std::size_t>(put);
  }
  size_ += static_cast<std::int64_t>(done);
  unwritten_.clear();
  return std::nullopt;
}

std::optional<std::string> AppendFile::sync() {
  if (auto failure = append({})) return failure;
  if (::fsync(descriptor_) != 0) return std::string(std::strerror(errno));
  return std::nullopt;
}

}  // namespace clara
