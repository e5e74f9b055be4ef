// Documents from JSON rows or plain text.
#include "clara/eval/document_file.h"

#include <array>
#include <string_view>
#include <unordered_set>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/data/row_source.h"

namespace clara {
namespace {

using Json = nlohmann::json;

class DocumentList {
 public:
  void add(std::string_view text) {
    const std::string_view stripped = strip_whitespace(text);
    if (!stripped.empty() && seen_.emplace(stripped).second) documents_.emplace_back(stripped);
  }
  std::vector<std::string> take() { return std::move(documents_); }

 private:
  std::vector<std::string> documents_;
  std::unordered_set<std::string> seen_;
};

[[noreturn]] void fail_row(const std::string& place, const std::string& found) {
  throw DataError(place +
                  ": expected a string or an object with docs, context, content or text, found " +
                  found);
}

void add_value(DocumentList& documents, const Json& value, const std::string& place) {
  if (value.is_string()) {
    documents.add(value.get_ref<const std::string&>());
  } else if (value.is_array()) {
    for (const Json& item : value) {
      if (!item.is_string())
        fail_row(place, "a list that holds a " + std::string(item.type_name()));
      documents.add(item.get_ref<const std::string&>());
    }
  } else {
    fail_row(place, value.type_name());
  }
}

void add_row(DocumentList& documents, const RawRow& row) {
  const Json value = parse_json<Json>(row.text);
  if (value.is_discarded()) fail_row(row.place.str(), "invalid JSON");
  if (!value.is_object()) return add_value(documents, value, row.place.str());
  for (const char* name : {"docs", "context", "content", "text"}) {
    if (value.contains(name)) {
      return add_value(documents, value.at(name), row.place.str() + ": " + name);
    }
  }
  fail_row(row.place.str(), "an object without any of them");
}

std::string_view without_carriage_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

void add_plain_text(DocumentList& documents, std::string_view text, const std::string& place) {
  if (const auto fault = find_invalid_utf8(text)) {
    throw DataError(place + ": byte " + std::to_string(*fault + 1) +
                    ": expected UTF-8 text, found another byte");
  }
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  text = strip_whitespace(text);
  std::vector<std::string_view> lines;
  bool has_blank_lines = false;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    lines.push_back(without_carriage_return(text.substr(0, end)));
    if (strip_whitespace(lines.back()).empty()) has_blank_lines = true;
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  std::string document;
  for (const std::string_view line : lines) {
    if (!has_blank_lines || strip_whitespace(line).empty()) {
      documents.add(has_blank_lines ? document : std::string(line));
      document.clear();
      continue;
    }
    if (!document.empty()) document += '\n';
    document += line;
  }
  documents.add(document);
}

}  // namespace

std::vector<std::string> read_document_file(const std::filesystem::path& path) {
  DocumentList documents;
  const std::string name = path.filename().string();
  if (name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") || name.ends_with(".json")) {
    const RowSource rows({{path.string(), 1.0, 0}});
    for (std::int64_t i = 0; i < rows.size(); ++i) add_row(documents, rows.row(i));
  } else {
    add_plain_text(documents, read_file(path), path.string());
  }
  std::vector<std::string> found = documents.take();
  if (found.empty()) throw DataError(path.string() + ": expected documents, found none");
  return found;
}

}  // namespace clara
