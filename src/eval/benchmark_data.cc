// Conversion before an evaluation.
#include "clara/eval/benchmark_data.h"

#include "clara/benchmarks/benchmark_format.h"
#include "clara/benchmarks/convert.h"
#include "clara/common/atomic_file.h"

namespace clara {
namespace {

constexpr const char* kRecords = "records";

std::string summary_of(const ConvertReport& report, const std::string& benchmark,
                       const std::string& data, const std::string& records) {
  std::string text = benchmark + " " + data + ": " + std::to_string(report.num_written) + " of " +
                     std::to_string(report.num_read) + " rows are questions for " + records;
  for (const auto& [reason, rows] : report.dropped)
    text += "; " + std::to_string(rows) + " dropped: " + reason;
  return text;
}

}  // namespace

std::vector<std::string> evaluation_benchmark_names() {
  std::vector<std::string> names = benchmark_format_names();
  names.insert(names.begin(), kRecords);
  return names;
}

EvaluationData prepare_evaluation_data(const std::string& benchmark, const std::string& data,
                                       const std::filesystem::path& output, std::int64_t max_rows) {
  if (benchmark == kRecords) return {data, ""};
  ConvertSettings settings;
  settings.format = parse_benchmark_format(benchmark);
  settings.max_rows = max_rows;
  make_folders(output);
  const std::filesystem::path records = output / "records.jsonl";
  const ConvertReport report =
      convert_benchmark_files({data}, records, /*replaces=*/true, settings);
  return {records.string(), summary_of(report, benchmark, data, records.string())};
}

}  // namespace clara
