// How vocabularies spell single bytes: the byte-level alphabet of GPT-2 (every byte as one visible
// character), and the byte tokens of SentencePiece.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace clara {

/// The character (UTF-8) that stands for a byte.
const std::string& byte_character(std::uint8_t byte);

/// The bytes that `token` (UTF-8) spells; nothing if it holds a character outside the alphabet.
std::optional<std::string> bytes_of_token(std::string_view token);

/// The token of a byte in vocabularies with byte fallback: "<0x0A>".
std::string byte_token(std::uint8_t byte);

}  // namespace clara
