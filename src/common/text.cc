// UTF-8 decoding by Unicode table 3-7, and Python's white space.
#include "clara/common/text.h"

namespace clara {
namespace {

unsigned char byte_at(std::string_view text, std::size_t position) {
  return static_cast<unsigned char>(text[position]);
}

bool is_continuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

}  // namespace

std::string drop_invalid_utf8(std::string_view text) {
  std::string kept;
  while (const auto fault = find_invalid_utf8(text)) {
    kept += text.substr(0, *fault);
    text.remove_prefix(*fault + 1);
  }
  return kept.append(text);
}

CodePoint decode_utf8(std::string_view text, std::size_t position) {
  if (position >= text.size()) return {};
  const unsigned char first = byte_at(text, position);
  if (first < 0x80) return {first, 1};
  std::size_t num_bytes = 0;
  // The second byte is narrower after four lead bytes: that excludes overlong forms, surrogates and
  // > U+10FFFF.
  unsigned char second_min = 0x80;
  unsigned char second_max = 0xBF;
  char32_t value = 0;
  if (first >= 0xC2 && first <= 0xDF) {
    num_bytes = 2;
    value = first & 0x1FU;
  } else if (first >= 0xE0 && first <= 0xEF) {
    num_bytes = 3;
    value = first & 0x0FU;
    if (first == 0xE0) second_min = 0xA0;
    if (first == 0xED) second_max = 0x9F;
  } else if (first >= 0xF0 && first <= 0xF4) {
    num_bytes = 4;
    value = first & 0x07U;
    if (first == 0xF0) second_min = 0x90;
    if (first == 0xF4) second_max = 0x8F;
  } else {
    return {};
  }
  if (text.size() - position < num_bytes) return {};
  const unsigned char second = byte_at(text, position + 1);
  if (second < second_min || second > second_max) return {};
  for (std::size_t i = 1; i < num_bytes; ++i) {
    const unsigned char byte = byte_at(text, position + i);
    if (!is_continuation(byte)) return {};
    value = (value << 6) | (byte & 0x3FU);
  }
  return {value, num_bytes};
}

std::optional<std::size_t> find_invalid_utf8(std::string_view text) {
  std::size_t position = 0;
  while (position < text.size()) {
    const std::size_t num_bytes = decode_utf8(text, position).num_bytes;
    if (num_bytes == 0) return position;
    position += num_bytes;
  }
  return std::nullopt;
}

void append_utf8(std::string& text, char32_t code_point) {
  if (code_point > 0x10FFFF || (code_point >= 0xD800 && code_point <= 0xDFFF)) code_point = 0xFFFD;
  const auto put = [&text](char32_t byte) { text.push_back(static_cast<char>(byte)); };
  const auto put_continuation = [&put, code_point](int shift) {
    put(0x80U | ((code_point >> shift) & 0x3FU));
  };
  if (code_point < 0x80) {
    put(code_point);
  } else if (code_point < 0x800) {
    put(0xC0U | (code_point >> 6));
    put_continuation(0);
  } else if (code_point < 0x10000) {
    put(0xE0U | (code_point >> 12));
    put_continuation(6);
    put_continuation(0);
  } else {
    put(0xF0U | (code_point >> 18));
    put_continuation(12);
    put_continuation(6);
    put_continuation(0);
  }
}

bool is_unicode_space(char32_t code_point) {
  return (code_point >= 0x09 && code_point <= 0x0D) || (code_point >= 0x1C && code_point <= 0x20) ||
         code_point == 0x85 || code_point == 0xA0 || code_point == 0x1680 ||
         (code_point >= 0x2000 && code_point <= 0x200A) || code_point == 0x2028 ||
         code_point == 0x2029 || code_point == 0x202F || code_point == 0x205F ||
         code_point == 0x3000;
}

std::string_view strip_whitespace(std::string_view text) {
  std::size_t begin = 0;
  while (begin < text.size()) {
    const CodePoint point = decode_utf8(text, begin);
    if (point.num_bytes == 0 || !is_unicode_space(point.value)) break;
    begin += point.num_bytes;
  }
  std::size_t end = text.size();
  while (end > begin) {
    std::size_t start = end - 1;
    while (start > begin && end - start < 4 && is_continuation(byte_at(text, start))) --start;
    const CodePoint point = decode_utf8(text, start);
    if (point.num_bytes != end - start || !is_unicode_space(point.value)) break;
    end = start;
  }
  return text.substr(begin, end - begin);
}

}  // namespace clara
