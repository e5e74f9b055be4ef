// metrics.jsonl and TensorBoard events of a run (interface.md "Run folder").
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>

namespace clara {

/// Scalars of one logged step, in the order of their names.
using MetricRow = std::map<std::string, double>;

/// Scalars in TensorBoard's event file format.
class TensorBoardWriter {
 public:
  /// Creates `folder`/events.out.tfevents.<seconds>.clara. Throws DataError if that fails.
  explicit TensorBoardWriter(const std::filesystem::path& folder);
  void add(std::int64_t step, const MetricRow& row);

 private:
  void write_event(const std::string& event);
  std::filesystem::path path_;
  std::ofstream out_;
};

/// Appends a row a step; each row reaches the file at once.
class MetricsLog {
 public:
  /// Rows of steps after `resume_step` that an earlier, killed run wrote are cut off, as is a torn
  /// last line: the file then reads as if the run had never stopped. `resume_step` < 0 starts a new
  /// file. Throws DataError if it cannot be written.
  MetricsLog(const std::filesystem::path& folder, bool tensorboard, std::int64_t resume_step);
  void write(std::int64_t step, const MetricRow& row);

 private:
  std::filesystem::path path_;
  std::ofstream out_;
  std::unique_ptr<TensorBoardWriter> tensorboard_;
};

}  // namespace clara
