// Where the programs draw their progress.
#pragma once

#include "clara/common/progress.h"

namespace clara::tools {

/// Standard error; at a terminal with its width.
ProgressSink stderr_progress();

}  // namespace clara::tools
