// The progress bar of clara-data's commands that read files: megabytes and rows, at a terminal
// only.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "clara/common/progress.h"

namespace clara::tools {

class FileProgress {
 public:
  /// `rows` names what is counted.
  explicit FileProgress(std::string rows) : rows_(std::move(rows)) {}

  void update(std::int64_t num_bytes_read, std::int64_t num_bytes, std::int64_t num_rows);
  void finish();

 private:
  std::string rows_;
  std::optional<ProgressBar> bar_;
};

}  // namespace clara::tools
