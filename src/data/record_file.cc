// Opening, unpacking and reading of one record file.
#include "data/record_file.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string system_reason() { return std::strerror(errno); }

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

// Reads up to `num_bytes` at `offset`; fewer only at the end of the file.
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

// A temporary file without a name: it is gone when its descriptor is closed, whatever happens.
class UnpackedFile {
 public:
  explicit UnpackedFile(const std::string& packed_path) : packed_path_(packed_path) {
    std::error_code error;
    const std::filesystem::path folder = std::filesystem::temp_directory_path(error);
    folder_ = error ? "/tmp" : folder.string();
    std::string name = folder_ + "/clara_unpacked_XXXXXX";
    file_ = FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
    if (file_.number() < 0) fail();
    ::unlink(name.c_str());
  }

  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t put = ::write(file_.number(), bytes.data(), bytes.size());
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) fail();
      bytes.remove_prefix(static_cast<std::size_t>(put));
    }
  }

  FileDescriptor release() { return std::move(file_); }

 private:
  [[noreturn]] void fail() const {
    throw DataError(packed_path_ + ": cannot be unpacked into " + folder_ + ": " + system_reason() +
                    "; unpack it beforehand, or set TMPDIR to a folder with room");
  }

  const std::string& packed_path_;
  std::string folder_;
  FileDescriptor file_;
};

// zlib's state of one gzip file, which may hold several members one after another.
class GzipReader {
 public:
  GzipReader(const FileDescriptor& file, const std::string& path)
      : file_(file), path_(path), input_(kChunkBytes) {
    constexpr int kGzipOnly = 16 + MAX_WBITS;
    if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw DataError(path_ + ": zlib cannot start");
  }
  GzipReader(const GzipReader&) = delete;
  GzipReader& operator=(const GzipReader&) = delete;
  ~GzipReader() { inflateEnd(&stream_); }

  /// Fills `output` with unpacked bytes; fewer only at the end.
  std::size_t read(std::vector<char>& output) {
    stream_.next_out = reinterpret_cast<Bytef*>(output.data());
    stream_.avail_out = static_cast<uInt>(output.size());
    while (stream_.avail_out > 0 && !at_end_) {
      if (stream_.avail_in == 0 && !refill()) {
        if (in_member_) fail("the end of the gzip stream", "the end of the file; it is cut off");
        at_end_ = true;
        break;
      }
      if (in_member_) {
        inflate_some();
      } else {
        begin_member();
      }
    }
    return output.size() - stream_.avail_out;
  }

 private:
  bool refill() {
    const std::size_t got = read_at(file_, path_, input_.data(), input_.size(), num_read_);
    num_read_ += got;
    stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
    stream_.avail_in = static_cast<uInt>(got);
    return got > 0;
  }

  void begin_member() {
    // Tapes and block devices pad with zeros behind the last member; gzip ignores them too.
    if (num_members_ > 0 && *stream_.next_in == 0) {
      ++stream_.next_in;
      --stream_.avail_in;
      return;
    }
    if (*stream_.next_in != 0x1F) {
      fail(num_members_ == 0 ? "a gzip file" : "another gzip member or the end of the file",
           "other data");
    }
    if (num_members_ > 0) inflateReset(&stream_);
    in_member_ = true;
    ++num_members_;
  }

  void inflate_some() {
    const int status = inflate(&stream_, Z_NO_FLUSH);
    if (status == Z_STREAM_END) {
      in_member_ = false;
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      fail("intact gzip data",
           std::string("damage (") + (stream_.msg == nullptr ? "unknown" : stream_.msg) + ")");
    }
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
    throw DataError(path_ + ": byte " + std::to_string(num_read_ - stream_.avail_in) +
                    ": expected " + expected + ", found " + found);
  }

  const FileDescriptor& file_;
  const std::string& path_;
  std::vector<char> input_;
  z_stream stream_{};
  std::uint64_t num_read_ = 0;
  int num_members_ = 0;
  bool in_member_ = false;
  bool at_end_ = false;
};

// Adds to the hash what belongs to the file's rows: the whole chunk, or, of the last one that was
// needed, the bytes up to the last row.
void hash_chunk(ContentHasher& hasher, std::string_view bytes, std::uint64_t offset,
                bool wants_more, const RowIndex& index) {
  if (!wants_more && index.size() > 0) {
    const RowSpan& last = index.span(index.size() - 1);
    const std::uint64_t end = last.offset + last.num_bytes;
    bytes = bytes.substr(0, end > offset ? end - offset : 0);
  }
  hasher.update(bytes);
}

// Feeds a chunk, without the byte order mark that the file's first one may start with.
bool feed_chunk(RowScanner& scanner, std::string_view bytes, std::uint64_t offset) {
  if (offset == 0 && bytes.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    bytes.remove_prefix(kByteOrderMark.size());
    offset += kByteOrderMark.size();
  }
  return scanner.feed(bytes, offset);
}

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

RecordFile::RecordFile(std::string path, std::int64_t max_rows) : path_(std::move(path)) {
  std::string_view name = path_;
  const bool is_gzip = name.ends_with(".gz");
  if (is_gzip) name.remove_suffix(3);
  std::unique_ptr<RowScanner> scanner;
  if (name.ends_with(".jsonl")) {
    scanner = std::make_unique<LineScanner>(path_, max_rows);
  } else if (name.ends_with(".json")) {
    scanner = std::make_unique<ArrayScanner>(path_, max_rows);
  } else {
    throw DataError(path_ + ": expected a name that ends in .jsonl, .jsonl.gz or .json");
  }
  descriptor_ = open_for_reading(path_);
  ContentHasher hasher;
  if (is_gzip) {
    scan_gzip(*scanner, hasher);
  } else {
    scan_plain(*scanner, hasher);
  }
  index_ = scanner->index();
  content_ = hasher.digest();
}

void RecordFile::scan_plain(RowScanner& scanner, ContentHasher& hasher) {
  num_bytes_ = size_of(descriptor_, path_);
  std::vector<char> chunk(kChunkBytes);
  std::uint64_t offset = 0;
  while (offset < num_bytes_) {
    const auto wanted =
        static_cast<std::size_t>(std::min<std::uint64_t>(chunk.size(), num_bytes_ - offset));
    if (read_at(descriptor_, path_, chunk.data(), wanted, offset) < wanted) {
      throw DataError(path_ + ": expected " + std::to_string(num_bytes_) +
                      " bytes, found fewer: the file was cut while it was read");
    }
    const bool wants_more = feed_chunk(scanner, {chunk.data(), wanted}, offset);
    hash_chunk(hasher, {chunk.data(), wanted}, offset, wants_more, scanner.index());
    if (!wants_more) return;
    offset += wanted;
  }
  scanner.finish();
}

void RecordFile::scan_gzip(RowScanner& scanner, ContentHasher& hasher) {
  GzipReader reader(descriptor_, path_);
  UnpackedFile unpacked(path_);
  std::vector<char> chunk(kChunkBytes);
  bool wants_more = true;
  while (wants_more) {
    const std::size_t got = reader.read(chunk);
    if (got == 0) {
      scanner.finish();
      break;
    }
    unpacked.append({chunk.data(), got});
    wants_more = feed_chunk(scanner, {chunk.data(), got}, num_bytes_);
    hash_chunk(hasher, {chunk.data(), got}, num_bytes_, wants_more, scanner.index());
    num_bytes_ += got;
  }
  descriptor_ = unpacked.release();
}

std::string RecordFile::read(std::int64_t row) const {
  const RowSpan& span = index_.span(row);
  const std::uint64_t size_now = size_of(descriptor_, path_);
  if (size_now != num_bytes_) {
    throw DataError(path_ + ":" + std::to_string(line(row)) + ": expected a file of " +
                    std::to_string(num_bytes_) + " bytes as when it was opened, found " +
                    std::to_string(size_now) + "; the file must not change during a run");
  }
  std::string text(static_cast<std::size_t>(span.num_bytes), '\0');
  if (read_at(descriptor_, path_, text.data(), text.size(), span.offset) < text.size()) {
    throw DataError(path_ + ":" + std::to_string(line(row)) +
                    ": the file was cut while it was read");
  }
  return text;
}

}  // namespace clara
