// Finds the rows of a record file in one pass over its bytes, without keeping them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Bytes of one row in the (unpacked) file.
struct RowSpan {
  std::uint64_t offset = 0;
  std::uint64_t num_bytes = 0;
};

/// Where the rows of a file are.
class RowIndex {
 public:
  std::int64_t size() const { return static_cast<std::int64_t>(spans_.size()); }
  const RowSpan& span(std::int64_t row) const { return spans_[static_cast<std::size_t>(row)]; }
  /// Line of a row (elements of arrays: its number), from 1.
  std::int64_t line(std::int64_t row) const;
  /// Appends the row that stands on `line`.
  void add(RowSpan span, std::int64_t line);

 private:
  // From `row` on, lines are `shift` ahead of row + 1. One entry for each run of blank lines: files
  // without them need none.
  struct LineShift {
    std::int64_t row;
    std::int64_t shift;
  };
  std::vector<RowSpan> spans_;
  std::vector<LineShift> shifts_;
};

/// Fed with the file's bytes in order, fills a RowIndex.
class RowScanner {
 public:
  RowScanner() = default;
  RowScanner(const RowScanner&) = delete;
  RowScanner& operator=(const RowScanner&) = delete;
  virtual ~RowScanner() = default;

  /// The next bytes, which stand at `offset`. False: no more are needed. Throws DataError
  /// "file: byte N: expected …, found …".
  virtual bool feed(std::string_view bytes, std::uint64_t offset) = 0;
  /// All bytes were fed. Throws CutOffError if the file is cut off.
  virtual void finish() = 0;

  /// The bytes that the file starts with, at offset 0: as feed(), but for a byte order mark.
  bool feed_first(std::string_view bytes);

  const RowIndex& index() const { return index_; }

 protected:
  RowIndex index_;
};

/// One row a line; blank lines are no rows.
class LineScanner final : public RowScanner {
 public:
  LineScanner(std::string file, std::int64_t max_rows);
  bool feed(std::string_view bytes, std::uint64_t offset) override;
  void finish() override;

 private:
  void end_line();

  std::string file_;
  std::int64_t max_rows_;
  std::int64_t line_ = 1;
  std::uint64_t content_begin_ = 0;  // of the current line, without white space around
  std::uint64_t content_end_ = 0;
  bool has_content_ = false;
};

/// One row an element of the file's JSON array, or of its sequence of JSON objects, which may take
/// any number of lines each. Only the structure is looked at (brackets, strings, commas): each
/// element is parsed when it is read.
class ArrayScanner final : public RowScanner {
 public:
  enum class Layout { kArray, kObjects };
  ArrayScanner(std::string file, std::int64_t max_rows, Layout layout = Layout::kArray);
  bool feed(std::string_view bytes, std::uint64_t offset) override;
  void finish() override;

 private:
  enum class State { kBeforeArray, kBeforeElement, kInElement, kInString, kAfterArray };

  void step(char c, std::uint64_t offset);
  void step_element(char c, std::uint64_t offset);
  void begin_element(char c, std::uint64_t offset);
  void end_element();
  void open_bracket(char c, std::uint64_t offset);
  std::string message(std::uint64_t offset, const std::string& expected,
                      const std::string& found) const;
  [[noreturn]] void fail(std::uint64_t offset, const std::string& expected,
                         const std::string& found) const;

  std::string file_;
  std::int64_t max_rows_;
  Layout layout_;
  State state_;
  std::string open_brackets_;  // of the current element
  bool after_escape_ = false;
  std::uint64_t element_begin_ = 0;
  std::uint64_t element_end_ = 0;  // behind the last byte that is no white space
  std::uint64_t num_bytes_ = 0;    // fed so far
};

}  // namespace clara
