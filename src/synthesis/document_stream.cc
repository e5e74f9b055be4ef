// Rows of JSON and paragraphs of text as documents.
#include "synthesis/document_stream.h"

#include <array>
#include <filesystem>
#include <fstream>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/data/row_stream.h"

namespace clara {
namespace {

using Json = nlohmann::json;

// A row that is no document; what follows it can be read.
class BadRowError : public DataError {
 public:
  using DataError::DataError;
};

constexpr std::size_t kMaxMessages = 100;
constexpr std::array<const char*, 3> kListFields = {"docs", "context", "content"};
constexpr std::array<const char*, 6> kTextFields = {"text",    "contents", "document",
                                                    "content", "context",  "passage"};

void check_utf8(std::string_view text, const RecordPlace& place) {
  if (const auto fault = find_invalid_utf8(text)) {
    throw BadRowError(place.str() + ": byte " + std::to_string(*fault + 1) +
                      ": expected UTF-8 text");
  }
}

const Json* find_text(const Json& row, const char* name) {
  const auto found = row.find(name);
  return found != row.end() && found->is_string() ? &*found : nullptr;
}

// The documents of one row.
std::vector<std::string> documents_of(std::string_view text, const RecordPlace& place,
                                      DocumentFormat format) {
  check_utf8(text, place);
  const Json row = parse_json<Json>(text);
  if (row.is_discarded() || !row.is_object())
    throw BadRowError(place.str() + ": expected one JSON object");
  for (const char* name : kListFields) {
    const auto list = row.find(name);
    if (list == row.end() || !list->is_array()) continue;
    std::vector<std::string> documents;
    for (const Json& item : *list) {
      if (!item.is_string())
        throw BadRowError(place.str() + ": " + name + ": expected a list of texts");
      documents.push_back(item.get<std::string>());
    }
    return documents;
  }
  for (const char* name : kTextFields) {
    const Json* found = find_text(row, name);
    if (found == nullptr) continue;
    const Json* title = find_text(row, "title");
    const auto& body = found->get_ref<const std::string&>();
    if (title == nullptr || strip_whitespace(title->get_ref<const std::string&>()).empty())
      return {body};
    return {format_passage(title->get_ref<const std::string&>(), {body}, format)};
  }
  throw BadRowError(
      place.str() +
      ": expected a document in text, contents, document, passage, content, context or "
      "docs, found none of these fields");
}

}  // namespace

// One open file.
class DocumentStream::File {
 public:
  File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  virtual ~File() = default;
  // The documents of the next row; empty behind the last one.
  virtual std::optional<std::vector<std::string>> next() = 0;
  virtual std::int64_t num_bytes_read() const = 0;
};

class DocumentStream::RowFile final : public File {
 public:
  RowFile(const std::string& path, DocumentFormat format) : rows_(path), format_(format) {}
  std::optional<std::vector<std::string>> next() override {
    const auto row = rows_.next();
    if (!row) return std::nullopt;
    return documents_of(row->text, row->place, format_);
  }
  std::int64_t num_bytes_read() const override {
    return static_cast<std::int64_t>(rows_.num_bytes_read());
  }

 private:
  RowStream rows_;
  DocumentFormat format_;
};

class DocumentStream::TextFile final : public File {
 public:
  explicit TextFile(const std::string& path) : path_(path), lines_(path, std::ios::binary) {
    if (!lines_) throw DataError(path + ": cannot be read");
  }
  std::optional<std::vector<std::string>> next() override {
    std::string document;
    RecordPlace place{path_, 0};
    for (std::string line; std::getline(lines_, line);) {
      ++line_;
      num_bytes_read_ += static_cast<std::int64_t>(line.size()) + 1;
      const bool is_blank = strip_whitespace(line).empty();
      if (is_blank && !document.empty()) break;
      if (is_blank) continue;
      if (document.empty()) place.line = line_;
      document += line + '\n';
    }
    if (document.empty()) return std::nullopt;
    check_utf8(document, place);
    return std::vector<std::string>{std::move(document)};
  }
  std::int64_t num_bytes_read() const override { return num_bytes_read_; }

 private:
  std::string path_;
  std::ifstream lines_;
  std::int64_t line_ = 0;
  std::int64_t num_bytes_read_ = 0;
};

std::unique_ptr<DocumentStream::File> DocumentStream::open(const std::string& path) const {
  if (path.ends_with(".txt")) return std::make_unique<TextFile>(path);
  return std::make_unique<RowFile>(path, source_.format);
}

DocumentStream::DocumentStream(DocumentSource source) : source_(std::move(source)) {
  // A wrong name is told before the first document is paid for.
  for (const std::string& path : source_.files) {
    std::error_code failure;
    if (!std::filesystem::is_regular_file(path, failure))
      throw DataError(path + ": expected a file, found none");
    sizes_.push_back(static_cast<std::int64_t>(std::filesystem::file_size(path)));
    num_bytes_ += sizes_.back();
  }
}

DocumentStream::~DocumentStream() = default;

std::int64_t DocumentStream::num_bytes_read() const {
  return num_bytes_before_ + (file_ ? file_->num_bytes_read() : 0);
}

std::optional<std::string> DocumentStream::next() {
  while (true) {
    while (!documents_.empty()) {
      const std::string document = std::move(documents_.front());
      documents_.pop_front();
      const std::string_view stripped = strip_whitespace(document);
      if (!stripped.empty()) return std::string(stripped);
    }
    if (!file_) {
      if (next_file_ == source_.files.size()) return std::nullopt;
      file_ = open(source_.files[next_file_]);
    }
    try {
      auto documents = file_->next();
      if (documents) {
        for (std::string& document : *documents) documents_.push_back(std::move(document));
        continue;
      }
      file_.reset();
      num_bytes_before_ += sizes_[next_file_++];
    } catch (const BadRowError& error) {
      if (!source_.skips_bad_rows) throw;
      ++num_bad_rows_;
      if (bad_rows_.size() < kMaxMessages) bad_rows_.emplace_back(error.what());
    }
  }
}

}  // namespace clara
