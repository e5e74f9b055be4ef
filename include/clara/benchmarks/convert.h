// Files of published benchmarks → records, row by row.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clara/benchmarks/answer_aliases.h"
#include "clara/benchmarks/benchmark_format.h"
#include "clara/benchmarks/benchmark_record.h"

namespace clara {

struct ConvertSettings {
  std::optional<BenchmarkFormat> format;  ///< empty: recognised, for each file by itself
  BenchmarkRecordSettings record;
  AnswerAliases aliases;            ///< more answers, by the answer's entity
  std::int64_t max_rows = 0;        ///< read, of all files together; 0 = all
  bool skips_bad_rows = false;      ///< else the first one throws
  bool keeps_unanswerable = false;  ///< MuSiQue-Full's, with "answerable": false
  bool keeps_complete = false;      ///< of a file that is cut off: its whole rows; else it throws
};

/// What happened to a file's rows.
struct ConvertedFile {
  std::string path;
  std::string format;
  std::int64_t num_read = 0;
  std::int64_t num_written = 0;
  std::optional<std::string> cut_off;  ///< why and where the file ended too early
};

struct ConvertReport {
  std::vector<ConvertedFile> files;
  std::map<std::string, std::int64_t> dropped;  ///< reason → rows
  std::int64_t num_read = 0;
  std::int64_t num_written = 0;
  std::int64_t num_pretraining = 0;        ///< of them: scp records
  std::int64_t num_pretraining_pairs = 0;  ///< questions with answers of those
  std::int64_t num_pretraining_texts = 0;  ///< and rows that are to give their text back
  std::int64_t num_met_passages = 0;       ///< whose text is in such a row already: left out
  std::int64_t num_without_documents = 0;
  std::int64_t num_answers = 0;
  std::int64_t num_aliased_rows = 0;  ///< that got answers from `aliases`
  std::int64_t num_passages = 0;   ///< of written rows, as published (pretraining: their documents)
  std::int64_t num_documents = 0;  ///< written
  std::int64_t num_relevant = 0;   ///< of them
  std::int64_t num_split_documents = 0;
  std::int64_t num_left_out_passages = 0;  ///< behind max_documents
  std::int64_t num_left_out_chunks = 0;    ///< behind kMaxDocuments
  std::int64_t num_blank_passages = 0;
  std::int64_t num_repeated_passages = 0;      ///< listed again under the same number: left out
  std::int64_t num_rows_without_relevant = 0;  ///< although the layout marks gold passages
  std::int64_t num_repeated_title_rows = 0;    ///< rows in which two passages share a title
  std::int64_t num_missing_titles = 0;         ///< supporting titles without a passage in the row
  std::int64_t num_missing_title_rows = 0;
  std::int64_t num_missing_sentences = 0;  ///< supporting sentences that a passage lacks
  std::int64_t num_missing_sentence_rows = 0;
  std::int64_t num_bad_rows = 0;
  std::vector<std::string> bad_rows;  ///< messages of the first 100
};

/// Bytes of all files that are read, and those read so far (of .gz: packed).
using ConvertProgress =
    std::function<void(std::int64_t num_bytes_read, std::int64_t num_bytes, std::int64_t num_rows)>;

/// Rows of `files` in order; `write` gets each record as a line. Throws DataError: a wrong row, a
/// file that is cut off or cannot be read, rows that are all bad. Other errors are those of
/// `write`.
ConvertReport convert_benchmarks(const std::vector<std::string>& files,
                                 const ConvertSettings& settings,
                                 const std::function<void(std::string_view)>& write,
                                 const ConvertProgress& progress = {});

/// The same into a file (.jsonl or .jsonl.gz), which appears whole or not at all. Throws
/// ConfigError for another name, a file that is there already unless `replaces`, and one that is
/// also read.
ConvertReport convert_benchmark_files(const std::vector<std::string>& files,
                                      const std::filesystem::path& output, bool replaces,
                                      const ConvertSettings& settings,
                                      const ConvertProgress& progress = {});

/// The report as a table for a person.
std::string render_convert_report(const ConvertReport& report);

}  // namespace clara
