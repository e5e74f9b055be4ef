// Columns by utf8proc's character widths.
#include "eval/text_table.h"

#include <algorithm>

#include <utf8proc.h>

#include "clara/common/text.h"

namespace clara {
namespace {

/// A character, its columns, and where the next one starts. A byte that belongs to no character
/// takes one column.
struct Character {
  std::size_t num_bytes = 1;
  std::size_t columns = 1;
};

Character character_at(std::string_view text, std::size_t position) {
  const CodePoint point = decode_utf8(text, position);
  if (point.num_bytes == 0) return {};
  const int width = utf8proc_charwidth(static_cast<utf8proc_int32_t>(point.value));
  return {point.num_bytes, static_cast<std::size_t>(std::max(0, width))};
}

}  // namespace

std::size_t display_columns(std::string_view text) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size();) {
    const Character character = character_at(text, i);
    columns += character.columns;
    i += character.num_bytes;
  }
  return columns;
}

std::string fit_columns(std::string_view text, std::size_t max_columns) {
  if (display_columns(text) <= max_columns) return std::string(text);
  std::size_t columns = 0;
  std::size_t end = 0;
  while (end < text.size()) {
    const Character character = character_at(text, end);
    if (columns + character.columns + 1 > max_columns) break;
    columns += character.columns;
    end += character.num_bytes;
  }
  return std::string(text.substr(0, end)) + "…";
}

std::string pad_right(const std::string& text, std::size_t columns) {
  const std::size_t taken = display_columns(text);
  return text + std::string(columns > taken ? columns - taken : 0, ' ');
}

std::string pad_left(const std::string& text, std::size_t columns) {
  const std::size_t taken = display_columns(text);
  return std::string(columns > taken ? columns - taken : 0, ' ') + text;
}

std::vector<std::string> wrap_words(std::string_view text, std::size_t max_columns) {
  std::vector<std::string> lines;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::string word(text.substr(begin, end - begin));
    begin = end + 1;
    if (word.empty()) continue;
    if (!lines.empty() &&
        display_columns(lines.back()) + 1 + display_columns(word) <= max_columns) {
      lines.back() += " " + word;
    } else {
      lines.push_back(word);
    }
  }
  return lines;
}

std::string cell_text(std::string_view text, std::size_t max_columns) {
  std::string cell;
  for (const char c : fit_columns(text, max_columns)) {
    if (c == '|') {
      cell += "\\|";
    } else {
      cell += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return cell;
}

std::string render_markdown_table(const std::vector<std::vector<std::string>>& rows,
                                  std::size_t num_text) {
  std::vector<std::size_t> widths(rows.front().size(), 3);
  for (const auto& row : rows) {
    for (std::size_t c = 0; c < row.size(); ++c) {
      widths[c] = std::max(widths[c], display_columns(row[c]));
    }
  }
  std::string table;
  const auto add_row = [&](const std::vector<std::string>& row) {
    table += '|';
    for (std::size_t c = 0; c < row.size(); ++c) {
      table +=
          ' ' + (c < num_text ? pad_right(row[c], widths[c]) : pad_left(row[c], widths[c])) + " |";
    }
    table += '\n';
  };
  add_row(rows.front());
  table += '|';
  for (std::size_t c = 0; c < widths.size(); ++c) {
    table += (c < num_text ? " :" : " ") + std::string(widths[c] - 1, '-') +
             (c < num_text ? " |" : ": |");
  }
  table += '\n';
  for (std::size_t r = 1; r < rows.size(); ++r) add_row(rows[r]);
  return table;
}

}  // namespace clara
