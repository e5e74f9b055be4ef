// The published layouts of benchmark rows (docs/interface.md, "Published benchmarks").
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "clara/benchmarks/benchmark_question.h"
#include "clara/data/records.h"
#include "clara/data/row_stream.h"

namespace clara {

enum class BenchmarkFormat {
  kHotpotQa,        ///< "hotpotqa": distractor and fullwiki
  kTwoWiki,         ///< "2wiki": 2WikiMultihopQA
  kMuSiQue,         ///< "musique": answerable and full
  kNq,              ///< "nq": v1.0, raw and simplified
  kNqOpen,          ///< "nq_open": questions with answers only
  kDpr,             ///< "dpr": positive, negative and hard negative passages
  kKilt,            ///< "kilt"
  kFlashRag,        ///< "flashrag"
  kRankedContexts,  ///< "ctxs": ranked passages, as readers of retrieved text take them
  kMlClara,         ///< "ml_clara": rows of apple/ml-clara, and this project's records
};

/// All names, in the order of the enum.
std::vector<std::string> benchmark_format_names();
/// Throws ConfigError that lists the names.
BenchmarkFormat parse_benchmark_format(std::string_view name);
std::string to_string(BenchmarkFormat format);

/// What a row holds: a question, or (ml-clara's first stage) a pretraining record.
using BenchmarkRecord = std::variant<BenchmarkQuestion, ScpRecord>;

/// Reads rows of one layout.
class BenchmarkReader {
 public:
  /// Without a format it is recognised from the fields of the first row.
  explicit BenchmarkReader(std::optional<BenchmarkFormat> format = std::nullopt);
  BenchmarkReader(BenchmarkReader&&) noexcept;
  BenchmarkReader& operator=(BenchmarkReader&&) noexcept;
  ~BenchmarkReader();

  /// Throws DataError "file:line: field: expected …, found …" for a wrong row (of a file that has
  /// no row a line also with the byte where the row starts), for invalid JSON or UTF-8, and for a
  /// first row that no layout fits, with its fields.
  BenchmarkRecord read(const StreamedRow& row);
  /// The layout, once a row was read.
  std::optional<BenchmarkFormat> format() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clara
