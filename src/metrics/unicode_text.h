// Text as Python sees it: code points, str.lower(), white space of str.split(), \w of re
// (Unicode 14.0.0). Std only.
#pragma once

#include <string>
#include <string_view>

namespace clara::unicode {

/// Code points of UTF-8 `text`; every byte that belongs to no well-formed sequence becomes U+FFFD.
std::u32string decode(std::string_view text);

/// UTF-8 of code points.
std::string encode(std::u32string_view text);

/// Python's str.lower(), the final sigma and U+0130 included.
std::u32string to_lower(std::u32string_view text);

/// Whether str.split() splits there.
bool is_space(char32_t code_point);

/// Whether \w matches: letters, digits and numbers of any script, and the underscore.
bool is_word(char32_t code_point);

}  // namespace clara::unicode
