// Tables and escapes.
#include "analysis/shown_text.h"

#include <algorithm>
#include <cstdio>

#include "clara/common/text.h"

namespace clara {
namespace {

const char* escape_sequence(TextColor color) {
  switch (color) {
    case TextColor::kDim:
      return "\x1b[2m";
    case TextColor::kBold:
      return "\x1b[1m";
    case TextColor::kRed:
      return "\x1b[31m";
    case TextColor::kGreen:
      return "\x1b[32m";
    case TextColor::kYellow:
      return "\x1b[33m";
    case TextColor::kCyan:
      return "\x1b[36m";
    case TextColor::kPlain:
      break;
  }
  return "";
}

/// C0, DEL, C1, and the marks that reorder the line they stand in.
bool is_control(char32_t code) {
  return code < 0x20 || (code >= 0x7F && code < 0xA0) || code == 0x200E || code == 0x200F ||
         (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

}  // namespace

std::string paint(std::string_view text, TextColor color, bool colors) {
  if (!colors || color == TextColor::kPlain || text.empty()) return std::string(text);
  return escape_sequence(color) + std::string(text) + "\x1b[0m";
}

std::size_t shown_width(std::string_view text) {
  // Every byte but the continuation bytes of UTF-8 starts a code point.
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  }));
}

std::string escape_controls(std::string_view text, bool keep_newlines) {
  std::string shown;
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint point = decode_utf8(text, i);
    const std::size_t num_bytes = std::max<std::size_t>(point.num_bytes, 1);
    char escaped[16];
    if (point.num_bytes == 0) {
      std::snprintf(escaped, sizeof escaped, "\\x%02X", static_cast<unsigned char>(text[i]));
      shown += escaped;
    } else if (point.value == U'\n') {
      shown += keep_newlines ? "\n" : "\\n";
    } else if (point.value == U'\t') {
      shown += "\\t";
    } else if (point.value == U'\r') {
      shown += "\\r";
    } else if (is_control(point.value)) {
      std::snprintf(escaped, sizeof escaped, "\\u%04X", static_cast<unsigned>(point.value));
      shown += escaped;
    } else {
      shown += text.substr(i, num_bytes);
    }
    i += num_bytes;
  }
  return shown;
}

std::string shorten(std::string_view text, std::size_t max_width) {
  if (shown_width(text) <= max_width) return std::string(text);
  std::string kept;
  std::size_t i = 0;
  for (std::size_t width = 0; width + 1 < max_width; ++width) {
    const std::size_t num_bytes = std::max<std::size_t>(decode_utf8(text, i).num_bytes, 1);
    kept += text.substr(i, num_bytes);
    i += num_bytes;
  }
  return kept + "…";
}

std::string short_number(double value, int digits) {
  char text[32];
  std::snprintf(text, sizeof text, "%.*g", digits, value);
  return text;
}

void TextTable::add_row(std::vector<std::string> cells, TextColor color) {
  cells.resize(columns_.size());
  rows_.push_back({std::move(cells), color});
}

std::string TextTable::render(bool colors) const {
  std::vector<std::size_t> widths(columns_.size(), 0);
  for (const Row& row : rows_) {
    for (std::size_t c = 0; c < columns_.size(); ++c)
      widths[c] = std::max(widths[c], shown_width(row.cells[c]));
  }
  // A width of 0 is a column without content: it gets no title either.
  const std::vector<std::size_t> filled = widths;
  for (std::size_t c = 0; c < columns_.size(); ++c) {
    if (filled[c] > 0) widths[c] = std::max(widths[c], shown_width(columns_[c].title));
  }
  const auto line_of = [&](const auto& cell_of) {
    std::string line;
    std::size_t gap = 0;
    for (std::size_t c = 0; c < columns_.size(); ++c) {
      if (filled[c] == 0) continue;
      const std::string& cell = cell_of(c);
      const std::size_t pad = widths[c] - shown_width(cell);
      line.append(gap, ' ');
      if (columns_[c].align_right) line.append(pad, ' ');
      line += cell;
      // Blanks behind the last cell of a line would only wrap in narrow terminals.
      gap = 2 + (columns_[c].align_right ? 0 : pad);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    return line;
  };
  std::string text =
      paint(line_of([&](std::size_t c) -> const std::string& { return columns_[c].title; }),
            TextColor::kBold, colors) +
      "\n";
  for (const Row& row : rows_) {
    text += paint(line_of([&](std::size_t c) -> const std::string& { return row.cells[c]; }),
                  row.color, colors) +
            "\n";
  }
  return text;
}

}  // namespace clara
