// UTF-8 and the Unicode properties that Hugging Face tokenizers depends on, at its Unicode
// versions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace clara {

/// A code point of text that is known to be valid, and the number of its bytes.
struct Scalar {
  char32_t value = 0;
  std::uint8_t size = 1;
};

/// The code point at the start of `text`, which must be valid UTF-8 and not empty (decode_utf8 is
/// the one that checks).
inline Scalar first_scalar(std::string_view text) {
  auto byte = [&](std::size_t i) {
    return static_cast<char32_t>(static_cast<unsigned char>(text[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1FU) << 6 | (byte(1) & 0x3FU), 2};
  const char32_t two = (byte(1) & 0x3FU) << 6 | (byte(2) & 0x3FU);
  if (lead < 0xF0) return {(lead & 0x0FU) << 12 | two, 3};
  return {(lead & 0x07U) << 18 | two << 6 | (byte(3) & 0x3FU), 4};
}

/// The code point at the end of `text`, which must be valid UTF-8 and not empty.
Scalar last_scalar(std::string_view text);

/// `bytes` as text: every maximal prefix of a sequence that cannot be completed, and every byte
/// that cannot start one, becomes one U+FFFD (Unicode 3.9, "substitution of maximal subparts").
std::string utf8_or_replacement(std::string_view bytes);

/// White_Space.
bool is_white_space(char32_t c);

/// A word character of UTS #18: alphabetic, mark, decimal number, connector punctuation, joiner.
bool is_word_character(char32_t c);

/// General category N.
bool is_numeric(char32_t c);

/// Code points that became assigned after Unicode 14, the version of PCRE2 10.42.
struct CategoryRange {
  char32_t first;
  char32_t last;
  char category[3];  ///< two letters of the general category
};
std::span<const CategoryRange> newer_categories();

/// Whether `text` (valid UTF-8) holds a code point of `newer_categories`.
bool has_newer_code_point(std::string_view text);

/// Normalization form C, of valid UTF-8, as of Unicode 9 (what the reference computes): code points
/// that came later are left as they are. Linear but for sorting within runs of combining marks.
std::string normalize_nfc(std::string_view text);

/// Normalization form D, likewise.
std::string normalize_nfd(std::string_view text);

/// General category C (control, format, surrogate, private use, unassigned) as the steps of BERT
/// tokenizers know it.
bool is_other(char32_t c);

/// General category Mn, likewise.
bool is_nonspacing_mark(char32_t c);

/// General category P, likewise.
bool is_punctuation(char32_t c);

/// Appends the lower case of one code point, whatever stands around it: mostly one, two for U+0130.
void append_lower_case(std::string& text, char32_t c);

}  // namespace clara
