// A whole evaluation: records in, predictions and scores out (numerics §9; interface.md "Run
// folder").
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "clara/checkpoint/open_model.h"
#include "clara/data/row_source.h"
#include "clara/eval/eval_settings.h"
#include "clara/eval/report.h"
#include "clara/parallel/communicator.h"

namespace clara {

/// Rows answered so far and the running means of the first gold answer's scores.
struct EvalProgress {
  std::int64_t num_done = 0;
  std::int64_t num_rows = 0;
  double exact_match = 0;  ///< [0, 1]
  double f1 = 0;           ///< [0, 1]
};

struct BenchmarkRun {
  EvalSettings settings;
  EvalOrigin origin;  ///< base, data, checkpoint; the run fills in dtype, device, stage, step
  std::filesystem::path output;  ///< folder; made if missing
  bool overwrite = false;        ///< replace results of other settings
  /// The ranks that share the rows; null: this process alone. Rank 0 writes.
  Communicator* communicator = nullptr;
};

/// Checks, before a model is opened: the folder can be made and written; it holds no results of
/// another question than `planned` (unless overwrite). Throws ConfigError. `planned` needs
/// settings, and of the origin checkpoint, base, data, dtype.
void check_output_folder(const std::filesystem::path& output, const EvalResult& planned,
                         bool overwrite);

/// Parses every record. Throws DataError for the first wrong one.
void check_records(const RowSource& rows);

/// Answers all rows and writes predictions.jsonl, scores.json and report.md into the output folder.
/// Several ranks answer groups of consecutive rows in turn; what rank 0 writes and returns is, but
/// for rounding, what one process would. An error on one rank ends the others with a
/// DistributedError that holds its message.
/// Predictions are written as they come, to predictions.partial.jsonl, which takes its final name
/// when the last row is answered: earlier results stay whole until then. `progress` (optional) is
/// called after each group of rows.
EvalResult run_benchmark(const OpenedModel& opened, const RowSource& rows, const BenchmarkRun& run,
                         const std::function<void(const EvalProgress&)>& progress = {});

}  // namespace clara
