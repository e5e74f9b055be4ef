// A state machine over bytes: tabs, quotes and line breaks are ASCII in UTF-8.
#include "clara/data/tsv_stream.h"

#include <algorithm>
#include <utility>

#include "data/gzip_reader.h"
#include "data/input_file.h"

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxRowBytes = std::size_t{256} << 20;

}  // namespace

class TsvStream::Reader {
 public:
  explicit Reader(std::string path)
      : path_(std::move(path)),
        file_(open_for_reading(path_)),
        num_bytes_(size_of(file_, path_)),
        chunk_(kChunkBytes) {
    if (path_.ends_with(".gz")) gzip_ = std::make_unique<GzipReader>(file_, path_);
  }

  std::optional<TsvRow> next() {
    row_ = {{}, {path_, line_}};
    field_.clear();
    num_row_bytes_ = 0;
    state_ = State::kFieldStart;
    while (true) {
      if (position_ == num_in_chunk_ && !refill()) return last_row();
      const char c = chunk_[position_++];
      if (++num_row_bytes_ > kMaxRowBytes) {
        fail("rows of at most 256 MiB", "a longer one; is a quote not closed?");
      }
      if (c == '\n') ++line_;
      if (state_ == State::kQuoted) {
        if (c == '"') {
          state_ = State::kQuoteInQuoted;
        } else {
          field_ += c;
        }
        continue;
      }
      if (c == '\n') {
        if (ends_in_return()) field_.pop_back();
        if (row_.fields.empty() && field_.empty() && state_ != State::kQuoteInQuoted) {
          row_.place.line = line_;  // an empty line
          state_ = State::kFieldStart;
          continue;
        }
        row_.fields.push_back(std::move(field_));
        return std::move(row_);
      }
      step(c);
    }
  }

  std::uint64_t num_bytes() const { return num_bytes_; }
  std::uint64_t num_bytes_read() const { return gzip_ ? gzip_->num_packed_bytes() : num_read_; }

 private:
  enum class State { kFieldStart, kPlain, kQuoted, kQuoteInQuoted };

  // Outside of quotes, or behind a quote inside of them; no line break.
  void step(char c) {
    if (c == '\t') {
      row_.fields.push_back(std::move(field_));
      field_.clear();
      state_ = State::kFieldStart;
    } else if (c == '"' && state_ == State::kFieldStart) {
      state_ = State::kQuoted;
    } else if (c == '"' && state_ == State::kQuoteInQuoted) {
      field_ += c;
      state_ = State::kQuoted;
    } else {  // also what follows a closing quote, as in Python
      field_ += c;
      state_ = State::kPlain;
    }
  }

  bool ends_in_return() const {
    return state_ == State::kPlain && !field_.empty() && field_.back() == '\r';
  }

  std::optional<TsvRow> last_row() {
    if (state_ == State::kQuoted) fail("a closing quote", "the end of the file; it is cut off");
    if (ends_in_return()) field_.pop_back();
    if (row_.fields.empty() && field_.empty()) return std::nullopt;
    row_.fields.push_back(std::move(field_));
    return std::move(row_);
  }

  bool refill() {
    if (at_end_) return false;
    if (gzip_) {
      num_in_chunk_ = gzip_->read(chunk_);
    } else {
      num_in_chunk_ = read_at(file_, path_, chunk_.data(), chunk_.size(), num_read_);
      num_read_ += num_in_chunk_;
    }
    position_ = 0;
    if (is_at_start_ && num_in_chunk_ >= 3 && std::equal(chunk_.begin(), chunk_.begin() + 3, kMark))
      position_ = 3;
    is_at_start_ = false;
    at_end_ = num_in_chunk_ == 0;
    return position_ < num_in_chunk_;
  }

  [[noreturn]] void fail(const std::string& expected, const std::string& found) const {
    throw DataError(row_.place.str() + ": expected " + expected + ", found " + found +
                    " (the row starts on this line)");
  }

  static constexpr const char* kMark = "\xEF\xBB\xBF";  // byte order mark

  std::string path_;
  FileDescriptor file_;
  std::uint64_t num_bytes_;
  std::vector<char> chunk_;
  std::size_t num_in_chunk_ = 0;
  std::size_t position_ = 0;  // in chunk_
  std::unique_ptr<GzipReader> gzip_;
  std::uint64_t num_read_ = 0;
  bool is_at_start_ = true;
  bool at_end_ = false;
  std::int64_t line_ = 1;
  State state_ = State::kFieldStart;
  std::size_t num_row_bytes_ = 0;
  std::string field_;
  TsvRow row_;
};

TsvStream::TsvStream(std::string path) : reader_(std::make_unique<Reader>(std::move(path))) {}
TsvStream::TsvStream(TsvStream&&) noexcept = default;
TsvStream& TsvStream::operator=(TsvStream&&) noexcept = default;
TsvStream::~TsvStream() = default;

std::optional<TsvRow> TsvStream::next() { return reader_->next(); }
std::uint64_t TsvStream::num_bytes() const { return reader_->num_bytes(); }
std::uint64_t TsvStream::num_bytes_read() const { return reader_->num_bytes_read(); }

}  // namespace clara
