// The steps of normalizers, as Hugging Face tokenizers defines them.
#include "tokenizer/text_normalizer.h"

#include "tokenizer/unicode_text.h"

namespace clara {
namespace {

// The blocks that BERT calls Chinese: ideographs, not kana or hangul.
bool is_chinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) ||
         (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) ||
         (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

bool is_dropped(char32_t c) {
  if (c == '\t' || c == '\n' || c == '\r') return false;
  return c == 0 || c == 0xFFFD || is_other(c);
}

// Calls `take(scalar, its bytes)` for every code point.
template <typename Take>
void for_each_scalar(std::string_view text, const Take& take) {
  for (std::size_t i = 0; i < text.size();) {
    const Scalar c = first_scalar(text.substr(i));
    take(c.value, text.substr(i, c.size));
    i += c.size;
  }
}

std::string apply_bert(std::string_view text, const NormalizeStep& step) {
  std::string out;
  out.reserve(text.size() + text.size() / 8);
  bool is_ascii = true;
  for_each_scalar(text, [&](char32_t c, std::string_view bytes) {
    if (step.clean_text && is_dropped(c)) return;
    if (step.clean_text && is_white_space(c)) {
      out += ' ';
    } else if (step.handle_chinese_chars && is_chinese(c)) {
      out.append(1, ' ').append(bytes).append(1, ' ');
    } else {
      out += bytes;
    }
    is_ascii = is_ascii && bytes.size() == 1;
  });
  if (step.strip_accents && !is_ascii) {
    const std::string decomposed = normalize_nfd(out);
    out.clear();
    for_each_scalar(decomposed, [&](char32_t c, std::string_view bytes) {
      if (!is_nonspacing_mark(c)) out += bytes;
    });
  }
  if (step.lowercase) {
    std::string lower;
    lower.reserve(out.size());
    for_each_scalar(out, [&](char32_t c, std::string_view) { append_lower_case(lower, c); });
    out = std::move(lower);
  }
  return out;
}

}  // namespace

std::string replace_all(std::string_view text, std::string_view literal, std::string_view content) {
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  std::size_t done = 0;
  for (std::size_t at = text.find(literal); at != std::string_view::npos;
       at = text.find(literal, done)) {
    out.append(text, done, at - done).append(content);
    done = at + literal.size();
  }
  return out.append(text, done);
}

std::string replace_matches(std::string_view text, const SplitPattern& pattern, MatchMemory& memory,
                            std::string_view content) {
  std::vector<TextRange> matches;
  pattern.find_all(text, memory, matches);
  std::string out;
  std::size_t done = 0;
  for (const TextRange& match : matches) {
    out.append(text, done, match.begin - done).append(content);
    done = match.end;
  }
  return out.append(text, done);
}

std::string TextNormalizer::apply(std::string_view text, MatchMemory& memory) const {
  std::string out(text);
  for (const NormalizeStep& step : steps_) {
    switch (step.kind) {
      case NormalizeStep::Kind::kNfc:
        out = normalize_nfc(out);
        break;
      case NormalizeStep::Kind::kPrepend:
        if (!out.empty()) out.insert(0, step.content);
        break;
      case NormalizeStep::Kind::kReplaceString:
        out = replace_all(out, step.literal, step.content);
        break;
      case NormalizeStep::Kind::kReplacePattern:
        out = replace_matches(out, *step.pattern, memory, step.content);
        break;
      case NormalizeStep::Kind::kBert:
        out = apply_bert(out, step);
        break;
    }
  }
  return out;
}

}  // namespace clara
