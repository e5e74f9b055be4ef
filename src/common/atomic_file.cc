// Whole-or-absent files: temporary file, fsync, rename, fsync of the folder.
#include "clara/common/atomic_file.h"

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxNameAttempts = 1000;
// Linux moves at most about 2 GiB in one call; smaller pieces also keep an interrupted call cheap.
constexpr std::size_t kMaxPieceBytes = std::size_t{1} << 30;

std::string reason_of(int error_number) { return std::generic_category().message(error_number); }

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

/// Closes a descriptor at the end of the scope.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  int value() const { return value_; }

 private:
  int value_;
};

}  // namespace

AtomicFile::AtomicFile(std::filesystem::path path) : path_(std::move(path)) {
  if (!path_.has_filename()) {
    throw Error(path_.string() + ": cannot write: expected the path of a file");
  }
  std::error_code ignored;
  if (std::filesystem::is_directory(path_, ignored)) {
    throw Error(path_.string() + ": cannot write: expected a file, found a folder");
  }
  static std::atomic<unsigned> counter{0};
  for (int attempt = 0; attempt < kMaxNameAttempts; ++attempt) {
    // O_EXCL with a new name each time: processes of other machines may share the folder and the
    // process id.
    temporary_path_ =
        folder_of(path_) / ("." + path_.filename().string() + ".tmp-" + std::to_string(::getpid()) +
                            "-" + std::to_string(counter.fetch_add(1)));
    descriptor_ = ::open(temporary_path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (descriptor_ >= 0) return;
    if (errno != EEXIST && errno != EINTR) break;
  }
  throw Error(path_.string() + ": cannot write: " + reason_of(errno));
}

AtomicFile::~AtomicFile() {
  if (descriptor_ < 0) return;
  ::close(descriptor_);
  ::unlink(temporary_path_.c_str());
}

void AtomicFile::write(const void* data, std::size_t num_bytes) {
  if (descriptor_ < 0)
    throw Error(path_.string() + ": cannot write: the file is already committed");
  const char* next = static_cast<const char*>(data);
  while (num_bytes > 0) {
    const ssize_t written =
        ::write(descriptor_, next, num_bytes < kMaxPieceBytes ? num_bytes : kMaxPieceBytes);
    if (written < 0) {
      if (errno == EINTR) continue;
      throw Error(path_.string() + ": cannot write: " + reason_of(errno));
    }
    next += written;
    num_bytes -= static_cast<std::size_t>(written);
  }
}

void AtomicFile::commit() {
  if (descriptor_ < 0)
    throw Error(path_.string() + ": cannot write: the file is already committed");
  if (::fsync(descriptor_) != 0) {
    throw Error(path_.string() + ": cannot write to disk: " + reason_of(errno));
  }
  const int descriptor = std::exchange(descriptor_, -1);
  // Network file systems report a full disk only here.
  if (::close(descriptor) != 0 || ::rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    const int error_number = errno;
    ::unlink(temporary_path_.c_str());
    throw Error(path_.string() + ": cannot write: " + reason_of(error_number));
  }
  sync_path(folder_of(path_));
}

void write_file_atomically(const std::filesystem::path& path, std::string_view content) {
  AtomicFile file(path);
  file.write(content);
  file.commit();
}

std::string read_file(const std::filesystem::path& path) {
  const auto fail = [&path](int error_number) -> DataError {
    return DataError(path.string() + ": cannot read: " + reason_of(error_number));
  };
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value() < 0) throw fail(errno);
  struct stat status {};
  if (::fstat(file.value(), &status) != 0) throw fail(errno);
  std::string content;
  std::size_t num_bytes = 0;
  // One byte more than the size: the end of the file is then seen without growing the buffer.
  content.resize(static_cast<std::size_t>(status.st_size > 0 ? status.st_size : 0) + 1);
  while (true) {
    if (num_bytes == content.size()) content.resize(content.size() * 2);
    const ssize_t got =
        ::read(file.value(), content.data() + num_bytes, content.size() - num_bytes);
    if (got < 0) {
      if (errno == EINTR) continue;
      throw fail(errno);
    }
    if (got == 0) break;
    num_bytes += static_cast<std::size_t>(got);
  }
  content.resize(num_bytes);
  return content;
}

std::vector<fs::path> make_folders(const fs::path& folder) {
  std::vector<fs::path> missing;
  std::error_code error;
  for (fs::path p = folder; !p.empty() && !fs::exists(p, error); p = p.parent_path()) {
    if (p.has_filename()) missing.insert(missing.begin(), p);
    if (p == p.parent_path()) break;
  }
  fs::create_directories(folder, error);
  if (error) {
    remove_empty_folders(missing);
    throw Error(folder.string() + ": the folder cannot be made: " + error.message());
  }
  return missing;
}

void remove_empty_folders(const std::vector<fs::path>& made) {
  std::error_code ignored;  // a folder that is not empty stays
  for (auto folder = made.rbegin(); folder != made.rend(); ++folder) fs::remove(*folder, ignored);
}

void sync_path(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.value() < 0) throw Error(path.string() + ": cannot sync: " + reason_of(errno));
  // Some file systems cannot sync a folder and say EINVAL: their renames need none.
  if (::fsync(file.value()) != 0 && errno != EINVAL) {
    throw Error(path.string() + ": cannot sync: " + reason_of(errno));
  }
}

}  // namespace clara
