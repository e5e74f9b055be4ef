// Cutting at the best border among those that leave a chunk short enough.
#include "clara/data/document_chunks.h"

#include <algorithm>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {
namespace {

// What lies behind a unit; a higher one is a better place to cut.
enum class Border { kInsideWord, kWord, kSentence, kLine, kParagraph };

// A piece of text that is never cut: a word, or a part of a long one.
struct Unit {
  std::size_t begin = 0;
  std::size_t end = 0;
  Border border = Border::kWord;
};

constexpr std::size_t kMaxUnitCharacters = 16;

bool ends_sentence(char32_t c) {
  // Latin, ideographic and Devanagari full stops, exclamation and question marks.
  constexpr std::u32string_view kMarks = U".!?\u3002\uFF01\uFF1F\u0964\u061F";
  return kMarks.find(c) != std::u32string_view::npos;
}

bool ends_sentence_without_space(char32_t c) {
  constexpr std::u32string_view kMarks = U"\u3002\uFF01\uFF1F";
  return kMarks.find(c) != std::u32string_view::npos;
}

std::vector<Unit> units_of(std::string_view text, std::size_t max_characters) {
  std::vector<Unit> units;
  bool in_word = false;
  std::size_t num_characters = 0;
  std::size_t num_lines = 0;  // line breaks in the white space after the last unit
  char32_t last = 0;
  const auto end_unit = [&](Border border) {
    units.back().border = border;
    in_word = false;
  };
  for (std::size_t i = 0; i < text.size();) {
    const CodePoint c = decode_utf8(text, i);
    const std::size_t next = i + c.num_bytes;
    if (is_unicode_space(c.value)) {
      if (in_word) {
        end_unit(ends_sentence(last) ? Border::kSentence : Border::kWord);
        num_lines = 0;
      }
      if (c.value == '\n') ++num_lines;
      if (!units.empty() && num_lines > 0) {
        units.back().border = num_lines == 1 ? Border::kLine : Border::kParagraph;
      }
    } else {
      if (in_word && (num_characters == max_characters || ends_sentence_without_space(last))) {
        end_unit(ends_sentence_without_space(last) ? Border::kSentence : Border::kInsideWord);
      }
      if (!in_word) {
        units.push_back({i, i, Border::kWord});
        in_word = true;
        num_characters = 0;
      }
      units.back().end = next;
      ++num_characters;
      last = c.value;
    }
    i = next;
  }
  return units;
}

class Splitter {
 public:
  Splitter(const Tokenizer& tokenizer, std::string_view text, const ChunkSettings& settings)
      : tokenizer_(tokenizer),
        text_(text),
        max_tokens_(static_cast<std::size_t>(settings.max_tokens)),
        overlap_tokens_(static_cast<std::size_t>(settings.overlap_tokens)),
        fills_chunks_(settings.fills_chunks) {
    if (settings.repeat_title) set_title();
    units_ = units_of(text, kMaxUnitCharacters);
    const bool has_large_unit = std::any_of(units_.begin(), units_.end(), [&](const Unit& unit) {
      // A byte has one token at most, and a blank may stand in front: most need no counting.
      return unit.end - unit.begin + 1 + num_title_tokens_ > max_tokens_ &&
             count(title_, unit.begin, unit.end) > max_tokens_;
    });
    if (has_large_unit) units_ = units_of(text, 1);
  }

  std::vector<DocumentChunk> split() const {
    std::vector<DocumentChunk> chunks;
    std::size_t next = 0;
    std::size_t done = 0;  // units that chunks hold
    while (done < units_.size()) {
      const std::string_view title = chunks.empty() ? std::string_view() : title_;
      const std::size_t end = end_of_chunk(title, next, done);
      const std::size_t begin_byte = units_[next].begin;
      const std::size_t end_byte = units_[end - 1].end;
      chunks.push_back({begin_byte, end_byte,
                        std::string(title).append(text_, begin_byte, end_byte - begin_byte)});
      done = end;
      next = start_of_next(next, end);
    }
    return chunks;
  }

 private:
  void set_title() {
    const std::size_t line_end = text_.find('\n');
    if (line_end == std::string_view::npos) return;
    title_ = text_.substr(0, line_end + 1);
    num_title_tokens_ = tokenizer_.encode(title_, SpecialTokenText::kAsText).size();
    if (num_title_tokens_ * 4 > max_tokens_ || strip_whitespace(title_).empty()) {
      title_ = {};
      num_title_tokens_ = 0;
    }
  }

  std::size_t count(std::string_view title, std::size_t begin, std::size_t end) const {
    const std::string chunk = std::string(title).append(text_, begin, end - begin);
    return tokenizer_.encode(chunk, SpecialTokenText::kAsText).size();
  }

  // Whether units [begin, end) fit.
  bool fits(std::string_view title, std::size_t begin, std::size_t end) const {
    return count(title, units_[begin].begin, units_[end - 1].end) <= max_tokens_;
  }

  // One past the last unit of the chunk that starts at `begin`; more than `done`.
  std::size_t end_of_chunk(std::string_view title, std::size_t begin, std::size_t done) const {
    std::size_t good = begin + 1;
    std::size_t bad = units_.size() + 1;
    for (std::size_t step = 64; good < units_.size(); step *= 2) {
      const std::size_t end = std::min(good + step, units_.size());
      if (!fits(title, begin, end)) {
        bad = end;
        break;
      }
      good = end;
    }
    while (good + 1 < bad && good < units_.size()) {
      const std::size_t middle = (good + bad) / 2;
      (fits(title, begin, middle) ? good : bad) = middle;
    }
    if (good == units_.size()) return good;
    if (fills_chunks_) return std::max(good, done + 1);
    const std::size_t least = std::max(begin + (good - begin + 1) / 2, done + 1);
    std::size_t best = good;
    for (std::size_t end = good; end >= least && end > begin; --end) {
      const bool is_better = units_[end - 1].border > units_[best - 1].border;
      // A shorter text can have more tokens than a longer one, if rarely.
      if (is_better && fits(title, begin, end)) best = end;
    }
    return std::max(best, done + 1);
  }

  // Where the chunk after [begin, end) starts, so that it repeats overlap_tokens at most.
  std::size_t start_of_next(std::size_t begin, std::size_t end) const {
    const auto overlaps = [&](std::size_t start) {
      return count({}, units_[start].begin, units_[end - 1].end) <= overlap_tokens_;
    };
    std::size_t start = end;
    while (start > begin + 1 && overlap_tokens_ > 0) {
      // A whole word more.
      std::size_t earlier = start - 1;
      while (earlier > begin + 1 && units_[earlier - 1].border == Border::kInsideWord) --earlier;
      if (!overlaps(earlier)) break;
      start = earlier;
    }
    const bool leaves_room = end == units_.size() || fits(title_, start, end + 1);
    return leaves_room ? start : end;
  }

  const Tokenizer& tokenizer_;
  std::string_view text_;
  std::size_t max_tokens_;
  std::size_t overlap_tokens_;
  bool fills_chunks_;
  std::string_view title_;
  std::size_t num_title_tokens_ = 0;
  std::vector<Unit> units_;
};

void check(const ChunkSettings& settings) {
  constexpr std::int32_t kLeastTokens = 8;  // a character can take five
  if (settings.max_tokens < kLeastTokens) {
    throw ConfigError("max_tokens: expected " + std::to_string(kLeastTokens) + " or more, found " +
                      std::to_string(settings.max_tokens));
  }
  if (settings.overlap_tokens < 0 || settings.overlap_tokens > settings.max_tokens / 2) {
    throw ConfigError("overlap_tokens: expected 0 to half of max_tokens (" +
                      std::to_string(settings.max_tokens / 2) + "), found " +
                      std::to_string(settings.overlap_tokens));
  }
}

}  // namespace

std::vector<DocumentChunk> split_document(const Tokenizer& tokenizer, std::string_view text,
                                          const ChunkSettings& settings) {
  check(settings);
  if (strip_whitespace(text).empty()) return {};
  const std::size_t num_tokens = tokenizer.encode(text, SpecialTokenText::kAsText).size();
  if (num_tokens <= static_cast<std::size_t>(settings.max_tokens)) {
    return {{0, text.size(), std::string(text)}};
  }
  return Splitter(tokenizer, text, settings).split();
}

}  // namespace clara
