// Table look-ups and the two rules of lower-casing that no table of single code points can hold.
#include "metrics/unicode_text.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#include "metrics/unicode_tables.h"

namespace clara::unicode {
namespace {

constexpr char32_t kReplacement = 0xFFFD;
constexpr char32_t kCapitalIWithDot = 0x130;
constexpr char32_t kCombiningDotAbove = 0x307;
constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;

/// The range that holds `code_point`, or null.
template <typename R, std::size_t N>
const R* find_range(const R (&table)[N], char32_t code_point) {
  const auto* after =
      std::upper_bound(std::begin(table), std::end(table), code_point,
                       [](char32_t value, const R& range) { return value < range.first; });
  if (after == std::begin(table)) return nullptr;
  const R* range = after - 1;
  return code_point <= range->last ? range : nullptr;
}

char32_t lower_code_point(char32_t code_point) {
  const CaseRange* range = find_range(kLower, code_point);
  if (range == nullptr || (code_point - range->first) % range->stride != 0) return code_point;
  return static_cast<char32_t>(static_cast<std::int64_t>(code_point) + range->offset);
}

/// Unicode's Final_Sigma: a cased letter before, none after, case-ignorable ones skipped.
bool is_final_sigma(std::u32string_view text, std::size_t position) {
  std::size_t before = position;
  while (before > 0 && find_range(kCaseIgnorable, text[before - 1]) != nullptr) --before;
  if (before == 0 || find_range(kCased, text[before - 1]) == nullptr) return false;
  std::size_t after = position + 1;
  while (after < text.size() && find_range(kCaseIgnorable, text[after]) != nullptr) ++after;
  return after == text.size() || find_range(kCased, text[after]) == nullptr;
}

/// Length of the well-formed sequence that begins at `position` (Unicode table 3-7), 0 if there is
/// none.
std::size_t sequence_length(std::string_view text, std::size_t position) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[position + i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first < 0xE0 ? 2 : (first < 0xF0 ? 3 : 4);
  if (text.size() - position < length) return 0;
  const unsigned char second_min = first == 0xE0 ? 0xA0 : (first == 0xF0 ? 0x90 : 0x80);
  const unsigned char second_max = first == 0xED ? 0x9F : (first == 0xF4 ? 0x8F : 0xBF);
  if (byte(1) < second_min || byte(1) > second_max) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  return length;
}

}  // namespace

std::u32string decode(std::string_view text) {
  std::u32string points;
  points.reserve(text.size());
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t length = sequence_length(text, position);
    if (length == 0) {
      points.push_back(kReplacement);
      ++position;
      continue;
    }
    // The lead byte holds 7, 5, 4 or 3 bits of the code point.
    char32_t point = static_cast<unsigned char>(text[position]);
    if (length > 1) point &= 0x7FU >> length;
    for (std::size_t i = 1; i < length; ++i) {
      point = (point << 6) | (static_cast<unsigned char>(text[position + i]) & 0x3FU);
    }
    points.push_back(point);
    position += length;
  }
  return points;
}

std::string encode(std::u32string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  const auto put = [&bytes](char32_t byte) { bytes.push_back(static_cast<char>(byte)); };
  for (const char32_t point : text) {
    if (point < 0x80) {
      put(point);
    } else if (point < 0x800) {
      put(0xC0 | (point >> 6));
      put(0x80 | (point & 0x3F));
    } else if (point < 0x10000) {
      put(0xE0 | (point >> 12));
      put(0x80 | ((point >> 6) & 0x3F));
      put(0x80 | (point & 0x3F));
    } else {
      put(0xF0 | (point >> 18));
      put(0x80 | ((point >> 12) & 0x3F));
      put(0x80 | ((point >> 6) & 0x3F));
      put(0x80 | (point & 0x3F));
    }
  }
  return bytes;
}

std::u32string to_lower(std::u32string_view text) {
  std::u32string lower;
  lower.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == kCapitalIWithDot) {
      lower.push_back(U'i');
      lower.push_back(kCombiningDotAbove);
    } else if (text[i] == kCapitalSigma && is_final_sigma(text, i)) {
      lower.push_back(kFinalSigma);
    } else {
      lower.push_back(lower_code_point(text[i]));
    }
  }
  return lower;
}

bool is_space(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
         c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F ||
         c == 0x205F || c == 0x3000;
}

bool is_word(char32_t code_point) { return find_range(kWord, code_point) != nullptr; }

}  // namespace clara::unicode
