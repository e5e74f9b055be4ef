// A scanner finds the rows in the bytes; the bytes stay until their rows were given out.
#include "clara/data/row_stream.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "data/cut_off_error.h"
#include "data/gzip_reader.h"
#include "data/input_file.h"
#include "data/row_scanner.h"

namespace clara {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxRowBytes = std::size_t{256} << 20;

}  // namespace

class RowStream::Reader {
 public:
  Reader(std::string path, bool keeps_complete)
      : path_(std::move(path)),
        keeps_complete_(keeps_complete),
        file_(open_for_reading(path_)),
        num_bytes_(size_of(file_, path_)),
        // A small file needs no large buffer, but for what it unpacks to.
        chunk_(path_.ends_with(".gz") ? kChunkBytes
                                      : std::min<std::uint64_t>(kChunkBytes, num_bytes_)) {
    if (path_.ends_with(".gz")) gzip_ = std::make_unique<GzipReader>(file_, path_);
  }

  std::optional<StreamedRow> next() {
    while (!has_row()) {
      if (at_end_) return std::nullopt;
      drop_given_rows();
      read_more();
    }
    const RowIndex& index = scanner_->index();
    const RowSpan& span = index.span(num_given_);
    StreamedRow row;
    row.offset = span.offset;
    row.text = std::string_view(buffer_).substr(static_cast<std::size_t>(span.offset - begin_),
                                                static_cast<std::size_t>(span.num_bytes));
    row.place = {path_, index.line(num_given_)};
    row.is_on_line = is_lines_;
    row.has_line_end = !(is_lines_ && at_end_ && num_given_ + 1 == index.size()) || ends_in_break_;
    ++num_given_;
    return row;
  }

  std::uint64_t num_bytes() const { return num_bytes_; }
  std::uint64_t num_bytes_read() const { return gzip_ ? gzip_->num_packed_bytes() : num_read_; }
  const std::optional<std::string>& cut_off() const { return cut_off_; }

 private:
  bool has_row() const { return scanner_ != nullptr && num_given_ < scanner_->index().size(); }

  // Keeps the bytes from the first row that was not given out.
  void drop_given_rows() {
    if (scanner_ == nullptr || num_given_ == 0) return;
    const RowSpan& last = scanner_->index().span(num_given_ - 1);
    const auto done = static_cast<std::size_t>(last.offset + last.num_bytes - begin_);
    buffer_.erase(0, done);
    begin_ += done;
  }

  void read_more() {
    if (buffer_.size() > kMaxRowBytes) {
      throw DataError(path_ + ": byte " + std::to_string(begin_) +
                      ": expected rows of at most 256 MiB, found a longer one; is the file JSON "
                      "lines, or an array of records?");
    }
    std::size_t got = 0;
    try {
      got = read_chunk();
    } catch (const CutOffError& error) {
      end_early(error);
      return;
    }
    if (got == 0) {
      finish();
      return;
    }
    const std::string_view bytes(chunk_.data(), got);
    buffer_ += bytes;
    ends_in_break_ = bytes.back() == '\n';
    if (scanner_ != nullptr) {
      scanner_->feed(bytes, begin_ + buffer_.size() - got);
    } else {
      start_scanner();
    }
  }

  std::size_t read_chunk() {
    if (gzip_) return gzip_->read(chunk_);
    const std::size_t got = read_at(file_, path_, chunk_.data(), chunk_.size(), num_read_);
    num_read_ += got;
    return got;
  }

  // Once there is a byte that says how the rows are laid out; leading white space is waited for.
  void start_scanner() {
    const std::size_t mark = buffer_.starts_with("\xEF\xBB\xBF") ? 3 : 0;
    const std::size_t first = buffer_.find_first_not_of(" \t\r\n\v\f", mark);
    if (first == std::string::npos) return;
    std::string_view name = path_;
    if (name.ends_with(".gz")) name.remove_suffix(3);
    using Layout = ArrayScanner::Layout;
    if (buffer_[first] == '[') {
      scanner_ = std::make_unique<ArrayScanner>(path_, 0, Layout::kArray);
    } else if (name.ends_with(".json")) {
      scanner_ = std::make_unique<ArrayScanner>(path_, 0, Layout::kObjects);
    } else {
      scanner_ = std::make_unique<LineScanner>(path_, 0);
      is_lines_ = true;
    }
    scanner_->feed_first(buffer_);
  }

  void finish() {
    at_end_ = true;
    if (scanner_ == nullptr) {
      throw DataError(path_ + ": expected rows of JSON, found only white space");
    }
    try {
      scanner_->finish();
    } catch (const CutOffError& error) {
      end_early(error);
    }
  }

  // What the scanner holds of a row that is not whole is left out.
  void end_early(const CutOffError& error) {
    at_end_ = true;
    cut_off_ = error.what();
    if (!keeps_complete_) throw error;
  }

  std::string path_;
  bool keeps_complete_;
  FileDescriptor file_;
  std::uint64_t num_bytes_;
  std::vector<char> chunk_;
  std::unique_ptr<GzipReader> gzip_;
  std::unique_ptr<RowScanner> scanner_;
  std::string buffer_;       // bytes of rows that were not given out yet
  std::uint64_t begin_ = 0;  // offset of buffer_ in the (unpacked) file
  std::uint64_t num_read_ = 0;
  std::int64_t num_given_ = 0;
  bool is_lines_ = false;
  bool ends_in_break_ = false;
  bool at_end_ = false;
  std::optional<std::string> cut_off_;
};

RowStream::RowStream(std::string path, bool keeps_complete)
    : reader_(std::make_unique<Reader>(std::move(path), keeps_complete)) {}
RowStream::RowStream(RowStream&&) noexcept = default;
RowStream& RowStream::operator=(RowStream&&) noexcept = default;
RowStream::~RowStream() = default;

std::optional<StreamedRow> RowStream::next() { return reader_->next(); }
std::uint64_t RowStream::num_bytes() const { return reader_->num_bytes(); }
std::uint64_t RowStream::num_bytes_read() const { return reader_->num_bytes_read(); }
const std::optional<std::string>& RowStream::cut_off() const { return reader_->cut_off(); }

}  // namespace clara
