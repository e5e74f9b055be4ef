// The questions of an evaluation: records as they are, or a published benchmark's file. Needs no
// LibTorch.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace clara {

/// "records", then the published layouts.
std::vector<std::string> evaluation_benchmark_names();

struct EvaluationData {
  std::string path;     ///< of the records
  std::string summary;  ///< what was converted, for a person; empty for records
};

/// Records are read where they are. Another `benchmark` is converted (its candidates: the passages
/// of each row, 20 at most, with the gold ones among them) into `output`/records.jsonl, which
/// predictions refer to; rows without a question that can be answered are counted in the summary.
/// `max_rows`: of the file; 0 = all. Throws what convert_benchmark_files throws.
EvaluationData prepare_evaluation_data(const std::string& benchmark, const std::string& data,
                                       const std::filesystem::path& output, std::int64_t max_rows);

}  // namespace clara
