// What a run has done so far, on disk: rows.jsonl and, beside it, the journal that says how far
// every row has come.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>

#include "synthesis/document_table.h"
#include "synthesis/synthesis_task.h"

#include "clara/common/append_file.h"
#include "clara/synthesis/synthesize.h"

namespace clara {

/// One row of one document.
struct RowKey {
  Hash128 document;
  SynthesisKind kind = SynthesisKind::kSimpleQa;
  friend bool operator==(const RowKey&, const RowKey&) = default;
};

}  // namespace clara

template <>
struct std::hash<clara::RowKey> {
  std::size_t operator()(const clara::RowKey& key) const noexcept {
    return std::hash<clara::Hash128>()(key.document) * 4 + static_cast<std::size_t>(key.kind);
  }
};

namespace clara {

/// Every answer of the teacher is a line of journal.jsonl before anything else follows from it, and
/// a row is in rows.jsonl before the line that says so. Whatever a kill leaves half done is seen by
/// the next run: torn lines are cut off, a row without its line is cut off and written again (it
/// costs no request), a line whose row is lost counts for nothing.
class SynthesisJournal {
 public:
  /// Reads and mends what is in the folder. Throws DataError for a journal that is damaged
  /// elsewhere than at its end.
  explicit SynthesisJournal(const std::filesystem::path& folder);

  bool is_finished(const RowKey& row);
  /// Where an earlier run left a row that is not finished. It is forgotten here.
  std::optional<TaskState> take_open(const RowKey& row);
  /// True the first time that a document is met in this run.
  bool meet(const Hash128& document);

  /// An answer that the task has taken. Throws DataError when the disk takes no more.
  void record_answer(const RowKey& row, const TaskState& state, const ChatUsage& usage,
                     const RefusedCounts& refused);
  /// The row of a complete task.
  void record_row(const RowKey& row, const TaskState& state, const std::string& line);
  /// Has all of it on the disk.
  void sync();

  /// Of all runs in this folder.
  const SynthesisTotals& totals() const { return totals_; }

 private:
  void read(const std::filesystem::path& path);
  void read_line(const std::string& line);
  void count_finished(const RowKey& row, const TaskState& state, bool is_kept);
  void append(AppendFile& file, const std::string& line) const;

  DocumentTable documents_;
  std::unordered_map<RowKey, TaskState> open_;
  SynthesisTotals totals_;
  std::int64_t rows_size_ = 0;       // of rows.jsonl up to the last row that counts
  std::int64_t rows_available_ = 0;  // bytes of rows.jsonl as it was found
  std::optional<AppendFile> rows_;
  std::optional<AppendFile> journal_;
};

}  // namespace clara
