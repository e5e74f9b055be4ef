// UTF-8 text: validation with the place of the fault, code points, and white space as Python sees
// it.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace clara {

/// Byte offset of the first byte that does not belong to well-formed UTF-8 (Unicode table 3-7: no
/// surrogates, no overlong forms, nothing above U+10FFFF); empty if all of `text` is well-formed. A
/// cut sequence is reported at its first byte.
std::optional<std::size_t> find_invalid_utf8(std::string_view text);

/// `text` without the bytes that do not belong to well-formed UTF-8.
std::string drop_invalid_utf8(std::string_view text);

/// A code point and the bytes it takes.
struct CodePoint {
  char32_t value = 0;
  std::size_t num_bytes = 0;  ///< 1 to 4; 0 if no well-formed sequence starts there
};

/// The code point that starts at `text[position]`; num_bytes 0 if there is none (ill-formed, or the
/// end).
CodePoint decode_utf8(std::string_view text, std::size_t position);

/// Appends the UTF-8 of `code_point` (at most U+10FFFF, no surrogate; anything else becomes
/// U+FFFD).
void append_utf8(std::string& text, char32_t code_point);

/// What Python's str.isspace() holds for white space.
bool is_unicode_space(char32_t code_point);

/// Python's str.strip(): without Unicode white space at both ends. Ill-formed bytes are no white
/// space.
std::string_view strip_whitespace(std::string_view text);

}  // namespace clara
