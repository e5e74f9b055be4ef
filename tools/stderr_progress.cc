// What the terminal says of itself.
#include "tools/stderr_progress.h"

#include <iostream>

#include <sys/ioctl.h>
#include <unistd.h>

namespace clara::tools {

ProgressSink stderr_progress() {
  ProgressSink sink;
  sink.out = &std::cerr;
  sink.is_terminal = isatty(STDERR_FILENO) == 1;
  winsize size = {};
  if (sink.is_terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
    sink.width = size.ws_col;
  return sink;
}

}  // namespace clara::tools
