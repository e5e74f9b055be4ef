// The prompts of synthesis: files of text with {placeholders}, replaceable as a folder.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "clara/common/content_hash.h"

namespace clara {

enum class PromptName {
  kSystem,            ///< system.txt; blank: no system message
  kSimpleQa,          ///< simple_qa.txt: {document} {num_pairs}
  kComplexQa,         ///< complex_qa.txt: {document} {num_pairs}
  kParaphrase,        ///< paraphrase.txt: {document}
  kMoreSimpleQa,      ///< more_simple_qa.txt: {document} {questions} {missing} {problems}
  kMoreComplexQa,     ///< more_complex_qa.txt: as before
  kNextParaphrase,    ///< next_paraphrase.txt: {document} {paraphrase} {missing} {problems}
  kVerifyQuestions,   ///< verify_questions.txt: {document} {questions}
  kVerifyParaphrase,  ///< verify_paraphrase.txt: {document} {paraphrase}
};

inline constexpr std::size_t kNumPrompts = 9;

/// Values by the placeholder's name.
using PromptValues = std::map<std::string, std::string, std::less<>>;

/// All prompts of one folder. {name} of small letters and underscores is a placeholder, {{name}}
/// writes {name}; every other brace stands for itself.
class SynthesisPrompts {
 public:
  /// Throws ConfigError that lists everything that is wrong: a file that is missing or blank or no
  /// UTF-8, a placeholder that its prompt does not know, one that it must have and has not.
  explicit SynthesisPrompts(const std::filesystem::path& folder);

  /// The prompt with its placeholders replaced, each once: what a value holds is not read again.
  /// Every placeholder of the prompt must have a value.
  std::string render(PromptName name, const PromptValues& values) const;

  /// Of all texts.
  Hash128 fingerprint() const;

 private:
  std::array<std::string, kNumPrompts> texts_;
};

}  // namespace clara
