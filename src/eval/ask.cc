// A question as a row of its own.
#include "clara/eval/ask.h"

#include <numeric>

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {

RowAnswer ask(const OpenedModel& opened, const std::string& question,
              const std::vector<std::string>& documents, const EvalSettings& settings) {
  if (strip_whitespace(question).empty()) {
    throw DataError("question: expected text, found an empty string");
  }
  if (const auto fault = find_invalid_utf8(question)) {
    throw DataError("question: byte " + std::to_string(*fault + 1) + ": expected UTF-8 text");
  }
  if (documents.empty()) throw DataError("documents: expected at least one, found none");
  AnswerRequest request;
  request.question = question;
  request.place = "question";
  request.candidates.documents = documents;
  request.candidates.origins.resize(documents.size());
  std::iota(request.candidates.origins.begin(), request.candidates.origins.end(), 0);
  RowAnswerer answerer(opened, settings);
  return answerer.answer({request}).front();
}

}  // namespace clara
