// The checks, cheapest first.
#include "synthesis/answer_checks.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "synthesis/text_words.h"

#include "clara/common/text.h"

namespace clara {
namespace {

constexpr std::size_t kRunWords = 4;

// Control characters but for line breaks and tabs, U+FFFD (what a decoder leaves of broken text),
// and what is no UTF-8.
bool has_bad_characters(std::string_view text) {
  for (std::size_t position = 0; position < text.size();) {
    const CodePoint point = decode_utf8(text, position);
    if (point.num_bytes == 0 || point.value == 0xFFFD || point.value == 0x7F) return true;
    if (point.value < 0x20 && point.value != U'\n' && point.value != U'\t' && point.value != U'\r')
      return true;
    position += point.num_bytes;
  }
  return false;
}

std::int64_t num_characters(std::string_view text) {
  return std::count_if(text.begin(), text.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; });
}

}  // namespace

AnswerChecker::AnswerChecker(std::string_view document, SynthesisKind kind,
                             const CheckSettings& settings)
    : document_words_(words_of(document)), kind_(kind), settings_(settings) {}

const char* AnswerChecker::refuse_pair(const QaPair& pair,
                                       const std::vector<QaPair>& others) const {
  if (has_bad_characters(pair.question) || has_bad_characters(pair.answer)) return kBadCharacters;
  if (num_characters(pair.question) > settings_.max_question_characters ||
      num_characters(pair.answer) > settings_.max_answer_characters) {
    return kTooLong;
  }
  const std::vector<std::string> question = words_of(pair.question);
  const std::vector<std::string> answer = words_of(pair.answer);
  if (question.empty() || answer.empty()) return kEmptyText;
  const double min_grounding =
      kind_ == SynthesisKind::kSimpleQa ? settings_.min_grounding : settings_.min_grounding_complex;
  if (share_of_words(answer, document_words_) < min_grounding) return kUngrounded;
  if (settings_.refuses_leaks && contains_run(question, answer)) return kLeaked;
  const bool is_repeated = std::any_of(others.begin(), others.end(), [&](const QaPair& other) {
    return jaccard(question, words_of(other.question)) > settings_.max_question_overlap;
  });
  return is_repeated ? kRepeated : nullptr;
}

const char* AnswerChecker::refuse_paraphrase(std::string_view paraphrase) const {
  if (has_bad_characters(paraphrase)) return kBadCharacters;
  const std::vector<std::string> words = words_of(paraphrase);
  if (words.empty()) return kEmptyText;
  const double ratio = static_cast<double>(words.size()) /
                       static_cast<double>(std::max<std::size_t>(document_words_.size(), 1));
  if (ratio < settings_.min_length_ratio || ratio > settings_.max_length_ratio) return kLengthOff;
  if (share_of_words(words, document_words_) < settings_.min_word_overlap) return kTooFar;
  if (share_of_runs(words, document_words_, kRunWords) > settings_.max_run_overlap)
    return kTooClose;
  return nullptr;
}

}  // namespace clara
