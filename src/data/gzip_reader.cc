// Members of a gzip file, one after another.
#include "data/gzip_reader.h"

#include "data/cut_off_error.h"

namespace clara {
namespace {

constexpr std::size_t kInputBytes = std::size_t{1} << 20;

}  // namespace

GzipReader::GzipReader(const FileDescriptor& file, const std::string& path)
    : file_(file), path_(path), input_(kInputBytes) {
  constexpr int kGzipOnly = 16 + MAX_WBITS;
  if (inflateInit2(&stream_, kGzipOnly) != Z_OK) throw DataError(path_ + ": zlib cannot start");
}

GzipReader::~GzipReader() { inflateEnd(&stream_); }

std::size_t GzipReader::read(std::vector<char>& output) {
  stream_.next_out = reinterpret_cast<Bytef*>(output.data());
  stream_.avail_out = static_cast<uInt>(output.size());
  while (stream_.avail_out > 0 && !at_end_) {
    if (stream_.avail_in == 0 && !refill()) {
      if (in_member_ && stream_.avail_out == output.size()) {
        throw CutOffError(
            message("the end of the gzip stream", "the end of the file; it is cut off"));
      }
      at_end_ = !in_member_;
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

bool GzipReader::refill() {
  const std::size_t got = read_at(file_, path_, input_.data(), input_.size(), num_read_);
  num_read_ += got;
  stream_.next_in = reinterpret_cast<Bytef*>(input_.data());
  stream_.avail_in = static_cast<uInt>(got);
  return got > 0;
}

void GzipReader::begin_member() {
  // Tapes and block devices pad with zeros behind the last member; gzip ignores them too.
  if (num_members_ > 0 && *stream_.next_in == 0) {
    ++stream_.next_in;
    --stream_.avail_in;
    return;
  }
  if (*stream_.next_in != 0x1F) {
    throw DataError(
        message(num_members_ == 0 ? "a gzip file" : "another gzip member or the end of the file",
                "other data"));
  }
  if (num_members_ > 0) inflateReset(&stream_);
  in_member_ = true;
  ++num_members_;
}

void GzipReader::inflate_some() {
  const int status = inflate(&stream_, Z_NO_FLUSH);
  if (status == Z_STREAM_END) {
    in_member_ = false;
  } else if (status != Z_OK && status != Z_BUF_ERROR) {
    throw DataError(message(
        "intact gzip data",
        std::string("damage (") + (stream_.msg == nullptr ? "unknown" : stream_.msg) + ")"));
  }
}

std::string GzipReader::message(const std::string& expected, const std::string& found) const {
  return path_ + ": byte " + std::to_string(num_packed_bytes()) + ": expected " + expected +
         ", found " + found;
}

}  // namespace clara
