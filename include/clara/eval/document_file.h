// Documents of a file, to answer a question over (clara-eval ask). Needs no LibTorch.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace clara {

/// `.jsonl`, `.jsonl.gz`, `.json`: each row is a string, or an object with `docs`, `context` or
/// `content` (a list of strings, or a string) or `text` (a string); the documents of all rows,
/// equal ones once. Any other name is plain text (UTF-8): documents are separated by blank lines
/// where there are any, else each line is one. Throws DataError with file and line: missing,
/// unreadable, no UTF-8, a row of another kind, no documents.
std::vector<std::string> read_document_file(const std::filesystem::path& path);

}  // namespace clara
