// The steps of normalizers, as Hugging Face tokenizers defines them.
#include "tokenizer/text_normalizer.h"

#include "tokenizer/unicode_text.h"

namespace clara {

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
    }
  }
  return out;
}

}  // namespace clara
