// The steps of pre-tokenisers, as Hugging Face tokenizers defines them.
#include "tokenizer/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "tokenizer/text_normalizer.h"
#include "tokenizer/unicode_text.h"

namespace clara {
namespace {

using Pieces = std::vector<std::pair<TextRange, bool>>;

// Matches and the text between them, in order.
void fill_pieces(const std::vector<TextRange>& matches, std::size_t size, bool invert,
                 Pieces& pieces) {
  pieces.clear();
  std::size_t end = 0;
  for (const TextRange& match : matches) {
    if (match.begin != end) pieces.push_back({{end, match.begin}, invert});
    pieces.push_back({match, !invert});
    end = match.end;
  }
  if (end != size) pieces.push_back({{end, size}, invert});
}

// Joins neighbouring pieces by the behaviour; afterwards a true piece is one that is left out.
void join_pieces(SplitBehavior behavior, Pieces& pieces) {
  if (behavior == SplitBehavior::kRemoved) return;
  if (behavior == SplitBehavior::kIsolated) {
    for (auto& [range, is_match] : pieces) is_match = false;
    return;
  }
  const bool backward = behavior == SplitBehavior::kMergedWithNext;
  if (backward) std::reverse(pieces.begin(), pieces.end());
  bool previous_match = false;
  std::size_t count = 0;
  for (const auto& [range, is_match] : Pieces(pieces)) {
    const bool joins = behavior == SplitBehavior::kContiguous ? is_match == previous_match
                                                              : is_match && !previous_match;
    if (joins && count > 0) {
      TextRange& last = pieces[count - 1].first;
      (backward ? last.begin : last.end) = backward ? range.begin : range.end;
    } else {
      pieces[count++] = {range, false};
    }
    previous_match = is_match;
  }
  pieces.resize(count);
  if (backward) std::reverse(pieces.begin(), pieces.end());
}

void find_digits(std::string_view text, std::vector<TextRange>& matches) {
  matches.clear();
  for (std::size_t i = 0; i < text.size();) {
    const Scalar c = first_scalar(text.substr(i));
    if (is_numeric(c.value)) matches.push_back({i, i + c.size});
    i += c.size;
  }
}

void find_literal(std::string_view text, std::string_view literal,
                  std::vector<TextRange>& matches) {
  matches.clear();
  for (std::size_t at = text.find(literal); at != std::string_view::npos;
       at = text.find(literal, at + literal.size())) {
    matches.push_back({at, at + literal.size()});
  }
}

bool is_ascii_punctuation(char32_t c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

// White space is left out, punctuation (ASCII symbols count) stands alone.
void cut_bert_words(std::string_view text, Pieces& pieces) {
  pieces.clear();
  std::size_t word = 0;  // where the word before `i` begins
  for (std::size_t i = 0; i < text.size();) {
    const Scalar c = first_scalar(text.substr(i));
    const bool is_space = is_white_space(c.value);
    if (is_space || is_ascii_punctuation(c.value) || is_punctuation(c.value)) {
      if (word != i) pieces.push_back({{word, i}, false});
      pieces.push_back({{i, i + c.size}, is_space});
      word = i + c.size;
    }
    i += c.size;
  }
  if (word != text.size()) pieces.push_back({{word, text.size()}, false});
}

}  // namespace

const std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

std::string_view PreTokenizer::split(const CutStep& step, std::string_view text, bool at_start,
                                     MatchMemory& matching, CutMemory::Level& level) {
  if (step.add_prefix_space && !text.starts_with(' ')) {
    level.changed.assign(1, ' ').append(text);
    text = level.changed;
  }
  if (step.kind == CutStep::Kind::kBert) {
    cut_bert_words(text, level.pieces);
    return text;
  }
  switch (step.kind) {
    case CutStep::Kind::kMetaspace: {
      std::string changed = replace_all(text, " ", step.literal);
      const bool prepends = step.prepend == PrependScheme::kAlways ||
                            (step.prepend == PrependScheme::kFirst && at_start);
      if (prepends && !changed.starts_with(step.literal)) changed.insert(0, step.literal);
      level.changed = std::move(changed);
      text = level.changed;
      level.matches.clear();
      if (step.split) find_literal(text, step.literal, level.matches);
      break;
    }
    case CutStep::Kind::kDigits:
      find_digits(text, level.matches);
      break;
    case CutStep::Kind::kSplitString:
      find_literal(text, step.literal, level.matches);
      break;
    case CutStep::Kind::kSplitPattern:
    case CutStep::Kind::kByteLevel:
    case CutStep::Kind::kBert:
      level.matches.clear();
      if (step.pattern) step.pattern->find_all(text, matching, level.matches);
      break;
  }
  fill_pieces(level.matches, text.size(), step.invert, level.pieces);
  join_pieces(step.behavior, level.pieces);
  return text;
}

}  // namespace clara
