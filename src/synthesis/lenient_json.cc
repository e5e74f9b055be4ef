// A parser that writes strict JSON while it reads what is nearly JSON.
#include "synthesis/lenient_json.h"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::size_t kMaxDepth = 32;
// Brackets in prose that start nothing; more of them are no answer.
constexpr std::size_t kMaxFalseStarts = 200;
constexpr std::string_view kThinkEnd = "</think>";

// What closes a string that `quote` opened; empty: no quote.
std::string_view closing_quotes(char32_t quote) {
  switch (quote) {
    case U'"':
      return "\"";
    case U'\'':
      return "'";
    case U'\u201C':  // “
    case U'\u201D':  // ”
    case U'\u201E':  // „
      return "\u201D\u201C\"";
    case U'\u2018':  // ‘
    case U'\u2019':  // ’
      return "\u2019";
    case U'\u00AB':  // «
      return "\u00BB";
    default:
      return {};
  }
}

// One value from a position on. A member function returns false where there is none.
class LenientParser {
 public:
  LenientParser(std::string_view text, std::size_t position) : text_(text), position_(position) {}

  bool read_value() {
    skip_space();
    if (depth_ > kMaxDepth || position_ >= text_.size()) return false;
    const char c = text_[position_];
    if (c == '{' || c == '[') return read_container(c == '{');
    if (!closing_quotes(point().value).empty()) return read_string();
    return read_number() || read_word();
  }

  std::size_t position() const { return position_; }
  std::string take_json() { return std::move(json_); }

 private:
  CodePoint point() const { return decode_utf8(text_, position_); }

  void skip_space() {
    while (position_ < text_.size() && is_unicode_space(point().value) && point().num_bytes > 0)
      position_ += point().num_bytes;
  }

  bool take(char c) {
    skip_space();
    if (position_ >= text_.size() || text_[position_] != c) return false;
    ++position_;
    return true;
  }

  bool read_container(bool is_object) {
    ++position_;
    ++depth_;
    json_ += is_object ? '{' : '[';
    const char end = is_object ? '}' : ']';
    bool is_first = true;
    while (!take(end)) {
      if (!is_first) json_ += ',';
      is_first = false;
      if (is_object && !read_name()) return false;
      if (!read_value()) return false;
      // A comma before the bracket is passed over.
      if (!take(',')) {
        if (!take(end)) return false;
        break;
      }
    }
    json_ += end;
    --depth_;
    return true;
  }

  bool read_name() {
    skip_space();
    if (position_ >= text_.size() || closing_quotes(point().value).empty() || !read_string() ||
        !take(':')) {
      return false;
    }
    json_ += ':';
    return true;
  }

  bool read_string() {
    const std::string_view closing = closing_quotes(point().value);
    position_ += point().num_bytes;
    json_ += '"';
    while (position_ < text_.size()) {
      const CodePoint next = point();
      if (next.num_bytes == 0) return false;
      const std::string_view bytes = text_.substr(position_, next.num_bytes);
      position_ += next.num_bytes;
      if (next.value != U'\\' && closing.find(bytes) != std::string_view::npos) {
        json_ += '"';
        return true;
      }
      if (next.value == U'\\') {
        if (!read_escape()) return false;
      } else {
        put(next.value, bytes);
      }
    }
    return false;
  }

  void put(char32_t value, std::string_view bytes) {
    constexpr std::string_view kHex = "0123456789abcdef";
    if (value == U'"' || value == U'\\') {
      (json_ += '\\') += bytes;
    } else if (value < 0x20) {
      json_ += value < 0x10 ? "\\u000" : "\\u001";
      json_ += kHex[value & 0xF];
    } else {
      json_ += bytes;
    }
  }

  // Behind the backslash.
  bool read_escape() {
    const CodePoint next = point();
    if (next.num_bytes == 0) return false;
    const std::string_view bytes = text_.substr(position_, next.num_bytes);
    position_ += next.num_bytes;
    if (next.value == U'u') return read_code_unit();
    if (next.value < 0x80 && std::string_view("\"\\/bfnrt").find(bytes) != std::string_view::npos) {
      (json_ += '\\') += bytes;
    } else {
      put(next.value, bytes);  // \' or \_: the character alone
    }
    return true;
  }

  std::optional<std::uint32_t> hex_digits() {
    constexpr std::size_t kDigits = 4;
    if (text_.size() - position_ < kDigits) return std::nullopt;
    const char* begin = text_.data() + position_;
    std::uint32_t unit = 0;
    const auto [end, fault] = std::from_chars(begin, begin + kDigits, unit, 16);
    if (fault != std::errc() || end != begin + kDigits) return std::nullopt;
    position_ += kDigits;
    return unit;
  }

  bool read_code_unit() {
    const auto unit = hex_digits();
    if (!unit) return false;
    char32_t value = *unit;
    if (value >= 0xDC00 && value <= 0xDFFF) return false;
    if (value >= 0xD800 && value <= 0xDBFF) {
      if (text_.substr(position_, 2) != "\\u") return false;
      position_ += 2;
      const auto low = hex_digits();
      if (!low || *low < 0xDC00 || *low > 0xDFFF) return false;
      value = 0x10000 + ((value - 0xD800) << 10) + (*low - 0xDC00);
    }
    std::string bytes;
    append_utf8(bytes, value);
    put(value, bytes);
    return true;
  }

  bool read_number() {
    const std::size_t begin = position_;
    const auto digits = [&] {
      const std::size_t first = position_;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9')
        ++position_;
      return position_ - first;
    };
    const auto one_of = [&](std::string_view characters) {
      const bool found =
          position_ < text_.size() && characters.find(text_[position_]) != std::string_view::npos;
      if (found) ++position_;
      return found;
    };
    one_of("-");
    const std::size_t first = position_;
    const std::size_t num_digits = digits();
    bool is_sound = num_digits == 1 || (num_digits > 1 && text_[first] != '0');
    if (is_sound && one_of(".")) is_sound = digits() > 0;
    if (is_sound && one_of("eE")) {
      one_of("+-");
      is_sound = digits() > 0;
    }
    if (!is_sound) {
      position_ = begin;
      return false;
    }
    json_ += text_.substr(begin, position_ - begin);
    return true;
  }

  bool read_word() {
    struct Word {
      std::string_view written;
      std::string_view json;
    };
    static constexpr std::array<Word, 6> kWords = {{{"true", "true"},
                                                    {"false", "false"},
                                                    {"null", "null"},
                                                    {"True", "true"},
                                                    {"False", "false"},
                                                    {"None", "null"}}};
    for (const Word& word : kWords) {
      if (!text_.substr(position_).starts_with(word.written)) continue;
      position_ += word.written.size();
      json_ += word.json;
      return true;
    }
    return false;
  }

  std::string_view text_;
  std::size_t position_;
  std::size_t depth_ = 0;
  std::string json_;
};

}  // namespace

std::vector<std::string> find_json(std::string_view text) {
  const std::size_t thought = text.rfind(kThinkEnd);
  if (thought != std::string_view::npos) text.remove_prefix(thought + kThinkEnd.size());
  std::vector<std::string> found;
  std::size_t position = 0;
  std::size_t num_false_starts = 0;
  while ((position = text.find_first_of("{[", position)) != std::string_view::npos) {
    LenientParser parser(text, position);
    if (parser.read_value()) {
      found.push_back(parser.take_json());
      position = parser.position();
    } else if (++num_false_starts > kMaxFalseStarts) {
      break;
    } else {
      ++position;
    }
  }
  return found;
}

}  // namespace clara
