// How the passages of benchmarks become the text of documents (numerics §3).
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace clara {

enum class DocumentFormat {
  kTitleNewline,  ///< "title_newline": title, "\n", text
  kMlClara,       ///< "ml_clara": "This a document about {title}. \n {text}", as ml-clara's data is
};

/// The format of a config's name. Throws ConfigError that lists the names.
DocumentFormat parse_document_format(std::string_view name);
std::string to_string(DocumentFormat format);

/// Text of a passage: its sentences are stripped, empty ones left out, and joined by one blank.
std::string format_passage(std::string_view title, const std::vector<std::string>& sentences,
                           DocumentFormat format);

}  // namespace clara
