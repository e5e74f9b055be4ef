// Aligned tables, colours and safe text for reports that people read in a terminal.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

enum class TextColor { kPlain, kDim, kBold, kRed, kGreen, kYellow, kCyan };

/// `text` between the escape sequences of a colour; unchanged where colours are off.
std::string paint(std::string_view text, TextColor color, bool colors);

/// Columns that a terminal needs for `text`: its code points.
std::size_t shown_width(std::string_view text);

/// Text of data with control characters escaped ("\n" as backslash n), so that it cannot move the
/// cursor; `keep_newlines` leaves line breaks.
std::string escape_controls(std::string_view text, bool keep_newlines = false);

/// The first `max_width` code points, the last of them "…" where something was left out.
std::string shorten(std::string_view text, std::size_t max_width);

/// "1.23e-05", "0.5": `digits` significant digits.
std::string short_number(double value, int digits = 4);

/// A table of text: columns as wide as their widest cell, two blanks between them.
class TextTable {
 public:
  struct Column {
    std::string title;
    bool align_right = false;
  };
  explicit TextTable(std::vector<Column> columns) : columns_(std::move(columns)) {}

  /// One cell a column.
  void add_row(std::vector<std::string> cells, TextColor color = TextColor::kPlain);
  bool empty() const { return rows_.empty(); }
  /// Title line and rows, each ended by a line break; columns that are empty in every row are left
  /// out.
  std::string render(bool colors) const;

 private:
  struct Row {
    std::vector<std::string> cells;
    TextColor color;
  };
  std::vector<Column> columns_;
  std::vector<Row> rows_;
};

}  // namespace clara
