// One gzip member, the same bytes for the same input.
#include "clara/data/gzip_writer.h"

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include <zlib.h>

#include "clara/common/error.h"

namespace clara {
namespace {

constexpr std::size_t kBufferBytes = std::size_t{1} << 18;
constexpr std::size_t kMaxInputBytes = std::size_t{1} << 30;

}  // namespace

struct GzipWriter::Stream {
  std::function<void(std::string_view)> write;
  z_stream state{};
  std::vector<char> packed = std::vector<char>(kBufferBytes);

  void deflate_all(int flush) {
    int status = Z_OK;
    do {
      state.next_out = reinterpret_cast<Bytef*>(packed.data());
      state.avail_out = static_cast<uInt>(packed.size());
      status = deflate(&state, flush);
      write({packed.data(), packed.size() - state.avail_out});
    } while (state.avail_out == 0 || (flush == Z_FINISH && status != Z_STREAM_END));
  }
};

GzipWriter::GzipWriter(std::function<void(std::string_view)> write)
    : stream_(std::make_unique<Stream>()) {
  stream_->write = std::move(write);
  constexpr int kGzip = 16 + MAX_WBITS;
  constexpr int kMemory = 8;
  if (deflateInit2(&stream_->state, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzip, kMemory,
                   Z_DEFAULT_STRATEGY) != Z_OK) {
    throw Error("zlib cannot start");
  }
}

GzipWriter::~GzipWriter() { deflateEnd(&stream_->state); }

void GzipWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t num_bytes = std::min(bytes.size(), kMaxInputBytes);
    stream_->state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
    stream_->state.avail_in = static_cast<uInt>(num_bytes);
    stream_->deflate_all(Z_NO_FLUSH);
    bytes.remove_prefix(num_bytes);
  }
}

void GzipWriter::finish() {
  stream_->state.next_in = nullptr;
  stream_->state.avail_in = 0;
  stream_->deflate_all(Z_FINISH);
}

}  // namespace clara
