// JSON of foreign files.
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace clara {

/// Lists and objects inside one another. nlohmann parses any number of them, and overflows the
/// stack when it copies, compares or prints what it has parsed.
inline constexpr int kMaxJsonDepth = 1000;

/// Whether brackets outside strings are open more than `depth` deep anywhere in `text`.
bool is_nested_deeper_than(int depth, std::string_view text);

/// A Json of nlohmann's library, discarded (is_discarded(); no object, no list) where the text is
/// no JSON (for the library it ends at its first NUL; here nothing may follow), holds a number
/// beyond a double, or is nested deeper than kMaxJsonDepth.
template <class Json>
Json parse_json(std::string_view text) {
  if (text.find('\0') != std::string_view::npos || is_nested_deeper_than(kMaxJsonDepth, text))
    text = {};
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

/// The value, where it is a whole number that T holds.
template <std::integral T, class Json>
std::optional<T> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.template get<std::uint64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else if (value.is_number_integer()) {
    const auto number = value.template get<std::int64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  }
  return std::nullopt;
}

}  // namespace clara
