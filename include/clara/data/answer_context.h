// How the documents of a question reach the generator. Needs no LibTorch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clara {

enum class AnswerContext {
  kLatents,  ///< "latents": CLaRa
  kText,     ///< "text": the documents' full text stands in the prompt
  kNone,     ///< "none": the question alone
};

/// The value of a name. Throws ConfigError that lists the names.
AnswerContext parse_answer_context(std::string_view name);
std::string to_string(AnswerContext context);
/// All names, in the order of the enum.
std::vector<std::string> answer_context_names();

}  // namespace clara
