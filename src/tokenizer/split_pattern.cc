// Oniguruma patterns on PCRE2: translation of what differs, compilation with JIT, matching.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/split_pattern.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <utility>

#include "tokenizer/unicode_text.h"
#include <pcre2.h>

#include "clara/common/error.h"

namespace clara {
namespace {

// White_Space and everything else, as members of a class. PCRE2's own \s also matches U+180E.
constexpr std::string_view kSpaceMembers =
    "\\x09-\\x0D\\x20\\x{85}\\x{A0}\\x{1680}\\x{2000}-\\x{200A}\\x{2028}\\x{2029}\\x{202F}\\x{205F}"
    "\\x{3000}";
constexpr std::string_view kNotSpaceMembers =
    "\\x00-\\x08\\x0E-\\x1F\\x21-\\x{84}\\x{86}-\\x{9F}\\x{A1}-\\x{167F}\\x{1681}-\\x{1FFF}\\x{"
    "200B}-"
    "\\x{2027}\\x{202A}-\\x{202E}\\x{2030}-\\x{205E}\\x{2060}-\\x{2FFF}\\x{3001}-\\x{10FFFF}";
// What Oniguruma's \w has beyond \p{L} \p{M} \p{Nd} \p{Nl} \p{Pc}.
constexpr std::string_view kOtherWordMembers =
    "\\x{B2}\\x{B3}\\x{B9}\\x{BC}-\\x{BE}\\x{24B6}-\\x{24E9}\\x{1F130}-\\x{1F149}\\x{1F150}-\\x{"
    "1F169}"
    "\\x{1F170}-\\x{1F189}";
constexpr std::array<std::string_view, 33> kCategories = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",
    "Nd", "Nl", "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po",
    "S",  "Sm", "Sc", "Sk", "So", "Z",  "Zs", "Zl", "Zp", "Cc", "Co"};

class Translator {
 public:
  Translator(std::string_view pattern, bool newer) : pattern_(pattern), newer_(newer) {}

  std::string translate() {
    while (at_ < pattern_.size()) {
      const char c = pattern_[at_];
      if (c == '\\') {
        escape();
      } else if (in_class_) {
        class_member(c);
      } else if (c == '[') {
        open_class();
      } else if (c == '(') {
        open_group();
      } else if (c == '}' && peek(1) == '+') {
        refuse("a possessive {n,m}+");
      } else if (c == '{' && peek(1) == ',') {
        refuse("a repeat {,n}");
      } else {
        copy(1);
      }
    }
    return std::move(out_);
  }

 private:
  char peek(std::size_t ahead) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }

  void copy(std::size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }

  [[noreturn]] void refuse(const std::string& what) const {
    throw DataError("pattern \"" + std::string(pattern_) + "\": " + what + " at byte " +
                    std::to_string(at_) + " is not supported");
  }

  void open_class() {
    copy(1);
    if (peek(0) == '^') copy(1);
    if (peek(0) == ']') copy(1);
    in_class_ = true;
  }

  void class_member(char c) {
    if (c == '[') refuse("a class or bracket expression within a class");
    if (c == '&' && peek(1) == '&') refuse("an intersection of classes");
    if (c == ']') in_class_ = false;
    copy(1);
  }

  void open_group() {
    if (peek(1) == '*') refuse("a verb");
    if (peek(1) != '?') {
      copy(1);
      return;
    }
    for (std::string_view kind : {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:"}) {
      if (pattern_.substr(at_).starts_with(kind)) {
        copy(kind.size());
        return;
      }
    }
    // Elsewhere Ruby and PCRE2 disagree about how far it reaches.
    if (at_ == 0 && pattern_.starts_with("(?i)")) {
      copy(4);
      return;
    }
    refuse("a group of this kind");
  }

  void escape() {
    const char c = peek(1);
    switch (c) {
      case 's':
        members(kSpaceMembers);
        return;
      case 'S':
        members(kNotSpaceMembers);
        return;
      case 'd':
        members(category_members("Nd"));
        return;
      case 'D':
        not_members(category_members("Nd"));
        return;
      case 'w':
        members(word_members());
        return;
      case 'W':
        not_members(word_members());
        return;
      case 'p':
      case 'P':
        property(c == 'P');
        return;
      case 'u':
        unicode_escape();
        return;
      case 'x':
      case 'n':
      case 'r':
      case 't':
      case 'f':
      case 'v':
        // \v is a line tabulation to Oniguruma, a class of line ends to PCRE2.
        if (c == 'v') {
          out_ += "\\x0B";
          at_ += 2;
        } else {
          copy(2);
        }
        return;
      default:
        break;
    }
    const auto byte = static_cast<unsigned char>(c);
    const bool is_letter_or_digit =
        (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    if (c == '\0' || byte >= 0x80 || is_letter_or_digit) refuse(std::string("the escape \\") + c);
    copy(2);
  }

  void unicode_escape() {
    const std::string_view digits = pattern_.substr(std::min(at_ + 2, pattern_.size()), 4);
    const bool is_hex = digits.size() == 4 && digits.find_first_not_of("0123456789abcdefABCDEF") ==
                                                  std::string_view::npos;
    if (!is_hex) refuse("the escape \\u");
    out_ += "\\x{" + std::string(digits) + "}";
    at_ += 6;
  }

  void property(bool negated) {
    std::string_view name = pattern_.substr(std::min(at_ + 2, pattern_.size()));
    const std::size_t close = name.find('}');
    if (!name.starts_with('{') || close == std::string_view::npos) refuse("a property without {}");
    name = name.substr(1, close - 1);
    if (std::find(kCategories.begin(), kCategories.end(), name) == kCategories.end()) {
      refuse("the property " + std::string(name) + " (general categories are)");
    }
    const std::string found = category_members(name);
    negated ? not_members(found, close + 3) : members(found, close + 3);
  }

  void members(std::string_view members, std::size_t length = 2) {
    in_class_ ? void(out_ += members) : void((out_ += '[') += std::string(members) + "]");
    at_ += length;
  }

  void not_members(std::string_view members, std::size_t length = 2) {
    if (in_class_) refuse("a negated property within a class");
    (out_ += "[^") += std::string(members) + "]";
    at_ += length;
  }

  std::string category_members(std::string_view category) const {
    std::string members = "\\p{" + std::string(category) + "}";
    if (!newer_) return members;
    for (const CategoryRange& range : newer_categories()) {
      if (!std::string_view(range.category).starts_with(category)) continue;
      std::array<char, 40> text{};
      std::snprintf(text.data(), text.size(), "\\x{%X}-\\x{%X}", static_cast<unsigned>(range.first),
                    static_cast<unsigned>(range.last));
      members += text.data();
    }
    return members;
  }

  std::string word_members() const {
    std::string members(kOtherWordMembers);
    for (std::string_view category : {"L", "M", "Nd", "Nl", "Pc"}) {
      members += category_members(category);
    }
    return members;
  }

  std::string_view pattern_;
  bool newer_;
  std::size_t at_ = 0;
  bool in_class_ = false;
  std::string out_;
};

struct FreeCode {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
};
struct FreeCompileContext {
  void operator()(pcre2_compile_context* context) const { pcre2_compile_context_free(context); }
};
struct FreeMatchContext {
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};
struct FreeMatchData {
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
struct FreeStack {
  void operator()(pcre2_jit_stack* stack) const { pcre2_jit_stack_free(stack); }
};
using CodePtr = std::unique_ptr<pcre2_code, FreeCode>;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct Compiled {
  CodePtr code;
  bool jit = false;
};

Compiled compile(std::string_view original, bool newer_code_points) {
  const std::string pattern = translate_pattern(original, newer_code_points);
  std::unique_ptr<pcre2_compile_context, FreeCompileContext> context(
      pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE offset = 0;
  // Lines: ^ and $ match at line ends to Oniguruma.
  CodePtr code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                             PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                             &error, &offset, context.get()));
  if (!code) {
    throw DataError("pattern \"" + std::string(original) +
                    "\" is not a regular expression: " + error_text(error));
  }
  // Without JIT support PCRE2 interprets the pattern: slower, same matches.
  const bool jit = pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE) == 0;
  return {std::move(code), jit};
}

}  // namespace

struct MatchMemory::State {
  std::unique_ptr<pcre2_match_data, FreeMatchData> data;
  std::unique_ptr<pcre2_jit_stack, FreeStack> stack;
  std::unique_ptr<pcre2_match_context, FreeMatchContext> context;
};

MatchMemory::MatchMemory() : state_(std::make_unique<State>()) {
  constexpr std::size_t kStackStart = std::size_t{32} << 10;
  constexpr std::size_t kStackLimit = std::size_t{4} << 20;
  state_->data.reset(pcre2_match_data_create(1, nullptr));
  state_->stack.reset(pcre2_jit_stack_create(kStackStart, kStackLimit, nullptr));
  state_->context.reset(pcre2_match_context_create(nullptr));
  pcre2_jit_stack_assign(state_->context.get(), nullptr, state_->stack.get());
}

MatchMemory::~MatchMemory() = default;

struct SplitPattern::Code {
  std::string original;
  Compiled usual;
  // Classes with the many ranges of newer code points are slow: only for text that holds some.
  Compiled newer;
};

SplitPattern::SplitPattern(std::string_view pattern) : code_(std::make_unique<Code>()) {
  code_->original = pattern;
  code_->usual = compile(pattern, false);
  code_->newer = compile(pattern, true);
}

SplitPattern::SplitPattern(SplitPattern&&) noexcept = default;
SplitPattern& SplitPattern::operator=(SplitPattern&&) noexcept = default;
SplitPattern::~SplitPattern() = default;

void SplitPattern::find_all(std::string_view text, MatchMemory& memory,
                            std::vector<TextRange>& matches) const {
  matches.clear();
  const Compiled& compiled = has_newer_code_point(text) ? code_->newer : code_->usual;
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  pcre2_match_data* data = memory.state_->data.get();
  pcre2_match_context* context = memory.state_->context.get();
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  std::size_t last_end = std::string_view::npos;
  for (std::size_t at = 0; at <= text.size();) {
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (compiled.jit) {
      found = pcre2_jit_match(compiled.code.get(), subject, text.size(), at, 0, data, context);
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(compiled.code.get(), subject, text.size(), at,
                          PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data, context);
    }
    if (found == PCRE2_ERROR_NOMATCH) return;
    if (found < 0) {
      throw DataError("pattern \"" + code_->original + "\" gave up on a text of " +
                      std::to_string(text.size()) + " bytes: " + error_text(found));
    }
    const TextRange match{bounds[0], bounds[1]};
    // An empty match right after a match is skipped, as Hugging Face's iterator does.
    if (match.begin == match.end && match.end == last_end) {
      if (at >= text.size()) return;
      at += first_scalar(text.substr(at)).size;
      continue;
    }
    matches.push_back(match);
    at = last_end = match.end;
  }
}

std::string translate_pattern(std::string_view pattern, bool newer_code_points) {
  return Translator(pattern, newer_code_points).translate();
}

}  // namespace clara
