// The rows of several record files as one sequence.
#include "clara/data/row_source.h"

#include <algorithm>
#include <cstddef>

#include "data/record_file.h"

#include "clara/common/error.h"

namespace clara {

RowSource::RowSource(const std::vector<DataSource>& sources, std::int64_t max_rows) {
  for (const DataSource& source : sources) {
    const std::int64_t left = max_rows > 0 ? max_rows - num_rows_ : 0;
    SourceRows rows{source.path, source.weight, num_rows_, 0, {}};
    std::unique_ptr<RecordFile> file;
    if (max_rows == 0 || left > 0) {
      const bool is_limited = source.max_rows > 0 && (left == 0 || source.max_rows < left);
      file = std::make_unique<RecordFile>(source.path, is_limited ? source.max_rows : left);
      rows.num_rows = file->num_rows();
      rows.content = file->content();
    }
    num_rows_ += rows.num_rows;
    sources_.push_back(std::move(rows));
    files_.push_back(std::move(file));
  }
}

RowSource::RowSource(RowSource&&) noexcept = default;
RowSource& RowSource::operator=(RowSource&&) noexcept = default;
RowSource::~RowSource() = default;

std::size_t RowSource::source_of(std::int64_t index) const {
  if (index < 0 || index >= num_rows_) {
    throw Error("expected a row from 0 to " + std::to_string(num_rows_ - 1) + ", found " +
                std::to_string(index));
  }
  const auto behind = std::upper_bound(
      sources_.begin(), sources_.end(), index,
      [](std::int64_t row, const SourceRows& source) { return row < source.first_row; });
  // Files that give no rows share their first_row with the one before them and stand behind it.
  auto found = std::prev(behind);
  while (found->num_rows == 0) --found;
  return static_cast<std::size_t>(found - sources_.begin());
}

RawRow RowSource::row(std::int64_t index) const {
  const std::size_t source = source_of(index);
  return {files_[source]->read(index - sources_[source].first_row), place(index)};
}

RecordPlace RowSource::place(std::int64_t index) const {
  const std::size_t source = source_of(index);
  return {sources_[source].path, files_[source]->line(index - sources_[source].first_row)};
}

std::int64_t RowSource::num_bytes(std::int64_t index) const {
  const std::size_t source = source_of(index);
  return files_[source]->num_bytes(index - sources_[source].first_row);
}

}  // namespace clara
