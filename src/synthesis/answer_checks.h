// Checks of the teacher's questions and paraphrases that need no teacher.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "synthesis/teacher_answers.h"

#include "clara/synthesis/synthesis_settings.h"

namespace clara {

// Why a pair is not used. Names in reports and journals.
inline constexpr const char* kEmptyText = "empty";
inline constexpr const char* kMalformedPair = "malformed pair";
inline constexpr const char* kBadCharacters = "bad characters";
inline constexpr const char* kTooLong = "too long";
inline constexpr const char* kUngrounded = "answer not in the document";
inline constexpr const char* kLeaked = "answer in the question";
inline constexpr const char* kRepeated = "question repeated";
inline constexpr const char* kTooMany = "over max_pairs";
inline constexpr const char* kJudgedWrong = "judged wrong";
// Why a paraphrase is not used, besides kEmptyText and kBadCharacters.
inline constexpr const char* kTooClose = "too close to the document";
inline constexpr const char* kTooFar = "too far from the document";
inline constexpr const char* kLengthOff = "length off";

/// How many were refused, by reason.
using RefusedCounts = std::map<std::string, std::int64_t>;

/// The document of one row, as words, and the checks against it.
class AnswerChecker {
 public:
  AnswerChecker(std::string_view document, SynthesisKind kind, const CheckSettings& settings);

  /// Why `pair` cannot be used beside `others`; null if it can.
  const char* refuse_pair(const QaPair& pair, const std::vector<QaPair>& others) const;
  /// Why `paraphrase` cannot be used; null if it can.
  const char* refuse_paraphrase(std::string_view paraphrase) const;

 private:
  std::vector<std::string> document_words_;
  SynthesisKind kind_;
  const CheckSettings& settings_;
};

}  // namespace clara
