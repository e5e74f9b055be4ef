// The table between bytes and their characters; byte tokens.
#include "tokenizer/byte_alphabet.h"

#include <array>

#include "tokenizer/unicode_text.h"

#include "clara/common/text.h"

namespace clara {
namespace {

struct Alphabet {
  std::array<std::string, 256> characters;
  std::array<std::int16_t, 512> bytes;  // by code point; -1: outside the alphabet

  // Printable Latin-1 stands for itself, the other bytes in order for U+0100 and what follows.
  Alphabet() {
    bytes.fill(-1);
    char32_t next = 0x100;
    for (int byte = 0; byte < 256; ++byte) {
      const bool is_visible = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
      const char32_t c = is_visible ? static_cast<char32_t>(byte) : next++;
      append_utf8(characters[static_cast<std::size_t>(byte)], c);
      bytes[c] = static_cast<std::int16_t>(byte);
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet kAlphabet;
  return kAlphabet;
}

}  // namespace

const std::string& byte_character(std::uint8_t byte) { return alphabet().characters[byte]; }

std::optional<std::string> bytes_of_token(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Scalar c = first_scalar(token);
    if (c.value >= alphabet().bytes.size() || alphabet().bytes[c.value] < 0) return std::nullopt;
    bytes += static_cast<char>(alphabet().bytes[c.value]);
    token.remove_prefix(c.size);
  }
  return bytes;
}

std::string byte_token(std::uint8_t byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  return std::string("<0x") + kDigits[byte >> 4] + kDigits[byte & 0xF] + '>';
}

}  // namespace clara
