// A bar on stderr where that is a terminal; a pipe gets the summary only.
#include "tools/data_progress.h"

#include <algorithm>

#include "tools/stderr_progress.h"

namespace clara::tools {

void FileProgress::update(std::int64_t num_bytes_read, std::int64_t num_bytes,
                          std::int64_t num_rows) {
  constexpr std::int64_t kBytesPerUnit = 1 << 20;
  if (!bar_) {
    ProgressSink sink = stderr_progress();
    if (!sink.is_terminal) sink.out = nullptr;
    bar_.emplace(sink, std::max<std::int64_t>(num_bytes / kBytesPerUnit, 1), "MiB");
  }
  bar_->update(num_bytes_read / kBytesPerUnit, std::to_string(num_rows) + " " + rows_);
}

void FileProgress::finish() {
  if (bar_) bar_->finish();
}

}  // namespace clara::tools
