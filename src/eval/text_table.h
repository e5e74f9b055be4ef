// Text in columns: widths as a terminal shows them, Markdown tables that line up. Needs no
// LibTorch.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Columns that a terminal takes for UTF-8 text: wide characters two, combining marks none.
std::size_t display_columns(std::string_view text);

/// The text, or as much of it as fits `max_columns` (at least 1) with "…" behind it.
std::string fit_columns(std::string_view text, std::size_t max_columns);

/// Blanks behind the text, up to `columns`.
std::string pad_right(const std::string& text, std::size_t columns);
/// Blanks before the text, up to `columns`.
std::string pad_left(const std::string& text, std::size_t columns);

/// The words of a paragraph in lines of at most `max_columns`; longer words stay whole.
std::vector<std::string> wrap_words(std::string_view text, std::size_t max_columns);

/// Text of a Markdown table's cell: one line, no column marks, at most `max_columns`.
std::string cell_text(std::string_view text, std::size_t max_columns);

/// An aligned Markdown table. Rows of equal length, the first being the header; the first
/// `num_text` columns are aligned to the left.
std::string render_markdown_table(const std::vector<std::vector<std::string>>& rows,
                                  std::size_t num_text);

}  // namespace clara
