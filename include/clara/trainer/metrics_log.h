// metrics.jsonl and TensorBoard events of a run (interface.md "Run folder").
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "clara/common/append_file.h"

namespace clara {

/// Scalars of one logged step, in the order of their names.
using MetricRow = std::map<std::string, double>;

/// Where a resumed run's logs are cut.
struct LogCut {
  std::int64_t step = 0;                   ///< rows of later steps go
  bool is_validation_of_step_cut = false;  ///< the validation of `step` will be logged again
};

/// Scalars in TensorBoard's event file format.
class TensorBoardWriter {
 public:
  /// Creates a file `folder`/events.out.tfevents.<seconds>.clara. Throws DataError if that fails.
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  /// Returns why the row could not be written; it is then tried again with the next one.
  std::optional<std::string> add(std::int64_t step, const MetricRow& row);

 private:
  std::unique_ptr<AppendFile> file_;
};

/// Appends a row a step; each row reaches the file at once.
class MetricsLog {
 public:
  /// With `cut`, what an earlier run wrote after the checkpoint it is resumed from is cut off
  /// metrics.jsonl and the event files, as is a torn last record: they then read as if the run had
  /// never stopped. Without, a new metrics.jsonl begins. Throws DataError if that fails.
  MetricsLog(const std::filesystem::path& folder, bool tensorboard, std::optional<LogCut> cut);
  /// Throws DataError if the row could not be written; it is then kept, and written before the next
  /// one.
  void write(std::int64_t step, const MetricRow& row);
  /// Has every row on the disk: a checkpoint must not outlive the rows before it. Throws DataError.
  void sync();

 private:
  void open(const std::optional<LogCut>& cut);
  void check(const std::optional<std::string>& failure) const;

  std::filesystem::path path_;
  std::unique_ptr<AppendFile> file_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
};

}  // namespace clara
