// A bar on stderr where that is a terminal; a pipe gets the summary only.
#include "tools/data_progress.h"

#include <algorithm>
#include <iostream>

#include <sys/ioctl.h>
#include <unistd.h>

namespace clara::tools {
namespace {

ProgressSink progress_sink() {
  ProgressSink sink;
  sink.is_terminal = isatty(STDERR_FILENO) == 1;
  if (sink.is_terminal) sink.out = &std::cerr;
  winsize size = {};
  if (sink.is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    sink.width = size.ws_col;
  return sink;
}

}  // namespace

void FileProgress::update(std::int64_t num_bytes_read, std::int64_t num_bytes,
                          std::int64_t num_rows) {
  constexpr std::int64_t kBytesPerUnit = 1 << 20;
  if (!bar_)
    bar_.emplace(progress_sink(), std::max<std::int64_t>(num_bytes / kBytesPerUnit, 1), "MiB");
  bar_->update(num_bytes_read / kBytesPerUnit, std::to_string(num_rows) + " " + rows_);
}

void FileProgress::finish() {
  if (bar_) bar_->finish();
}

}  // namespace clara::tools
