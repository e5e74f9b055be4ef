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

#include "data/gzip_reader.h"
#include <fcntl.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;

std::string system_reason() { return std::strerror(errno); }

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

}  // namespace

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
    const bool wants_more = offset == 0 ? scanner.feed_first({chunk.data(), wanted})
                                        : scanner.feed({chunk.data(), wanted}, offset);
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
    wants_more = num_bytes_ == 0 ? scanner.feed_first({chunk.data(), got})
                                 : scanner.feed({chunk.data(), got}, num_bytes_);
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
