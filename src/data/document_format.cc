// The two layouts of a passage's text (numerics §3).
#include "clara/data/document_format.h"

#include "clara/common/error.h"
#include "clara/common/text.h"

namespace clara {

DocumentFormat parse_document_format(std::string_view name) {
  for (const DocumentFormat format : {DocumentFormat::kTitleNewline, DocumentFormat::kMlClara}) {
    if (name == to_string(format)) return format;
  }
  throw ConfigError("data.document_format: expected title_newline or ml_clara, found \"" +
                    std::string(name) + "\"");
}

std::string to_string(DocumentFormat format) {
  return format == DocumentFormat::kMlClara ? "ml_clara" : "title_newline";
}

std::string format_passage(std::string_view title, const std::vector<std::string>& sentences,
                           DocumentFormat format) {
  std::string text;
  for (const std::string& sentence : sentences) {
    const std::string_view stripped = strip_whitespace(sentence);
    if (stripped.empty()) continue;
    if (!text.empty()) text += ' ';
    text += stripped;
  }
  const std::string name(title);
  // "This a document" is spelled so in ml-clara's data, and its checkpoints were trained on that.
  if (format == DocumentFormat::kMlClara) return "This a document about " + name + ". \n " + text;
  return name + "\n" + text;
}

}  // namespace clara
