// Rows of four layouts become passages, which wait in a queue until they are asked for.
#include "clara/retrieval/corpus.h"

#include <array>
#include <deque>
#include <unordered_set>
#include <utility>

#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/common/text.h"
#include "clara/data/json_row.h"
#include "clara/data/row_stream.h"
#include "clara/data/tsv_stream.h"

namespace clara {
namespace {

constexpr std::size_t kMaxMessages = 100;
constexpr std::array<const char*, 4> kIdNames = {"id", "_id", "doc_id", "docid"};
constexpr std::array<const char*, 4> kTextNames = {"text", "contents", "content", "body"};
constexpr std::array<const char*, 3> kDocumentNames = {"docs", "context", "content"};

// The list of documents of a record, if the row is one.
std::optional<JsonValue> documents_of(const JsonValue& row) {
  for (const char* name : kDocumentNames) {
    const auto value = row.find(name);
    if (value && value->is_list()) return value;
  }
  return std::nullopt;
}

CorpusFormat format_of(const JsonValue& row) {
  const auto text = row.find("text");
  if (row.find("wikipedia_title") && text && text->is_list()) return CorpusFormat::kKilt;
  return documents_of(row) ? CorpusFormat::kRecords : CorpusFormat::kJson;
}

bool is_tsv(std::string_view name) {
  if (name.ends_with(".gz")) name.remove_suffix(3);
  return name.ends_with(".tsv");
}

// Some corpora keep the quotes that a csv file had around its titles.
std::string_view without_quotes(std::string_view title) {
  if (title.size() >= 2 && title.front() == '"' && title.back() == '"')
    title = title.substr(1, title.size() - 2);
  return strip_whitespace(title);
}

Passage read_json_passage(const JsonValue& row) {
  Passage passage;
  std::optional<JsonValue> id;
  for (const char* name : kIdNames) {
    if (!id) id = row.find(name);
  }
  passage.id = id ? id->id() : row.require("id", "a string or a whole number").id();
  if (const auto title = row.find("title")) passage.title = strip_whitespace(title->text());
  for (const char* name : kTextNames) {
    const auto value = row.find(name);
    if (!value) continue;
    std::string_view text = strip_whitespace(value->text());
    const std::size_t line_end = text.find('\n');
    if (std::string_view(name) == "contents" && line_end != std::string_view::npos) {
      const std::string_view first = without_quotes(strip_whitespace(text.substr(0, line_end)));
      if (passage.title.empty() || passage.title == first) {
        passage.title = first;
        text = strip_whitespace(text.substr(line_end));
      }
    }
    passage.text = text;
    return passage;
  }
  row.require("text", "a string (or contents, content, body)").fail("a string");
}

// A title and a text that give `document` again, or all of it as text.
Passage passage_of_document(std::string_view document) {
  Passage passage;
  passage.id = hash_bytes(document).hex();
  const std::size_t line_end = document.find('\n');
  if (line_end != std::string_view::npos) {
    passage.title = document.substr(0, line_end);
    passage.text = document.substr(line_end + 1);
    const bool is_whole = !passage.title.empty() && !passage.text.empty() &&
                          document_of(passage, DocumentFormat::kTitleNewline) == document &&
                          strip_whitespace(passage.title) == passage.title;
    if (is_whole) return passage;
  }
  passage.title.clear();
  passage.text = document;
  return passage;
}

}  // namespace

std::string document_of(const Passage& passage, DocumentFormat format) {
  if (passage.title.empty()) return passage.text;
  return format_passage(passage.title, {passage.text}, format);
}

std::vector<std::string> corpus_format_names() {
  std::vector<std::string> names;
  for (const CorpusFormat format :
       {CorpusFormat::kJson, CorpusFormat::kTsv, CorpusFormat::kKilt, CorpusFormat::kRecords}) {
    names.push_back(to_string(format));
  }
  return names;
}

CorpusFormat parse_corpus_format(std::string_view name) {
  for (const CorpusFormat format :
       {CorpusFormat::kJson, CorpusFormat::kTsv, CorpusFormat::kKilt, CorpusFormat::kRecords}) {
    if (name == to_string(format)) return format;
  }
  throw ConfigError("expected the corpus layout json, tsv, kilt or records, found \"" +
                    std::string(name) + "\"");
}

std::string to_string(CorpusFormat format) {
  switch (format) {
    case CorpusFormat::kTsv:
      return "tsv";
    case CorpusFormat::kKilt:
      return "kilt";
    case CorpusFormat::kRecords:
      return "records";
    case CorpusFormat::kJson:
      break;
  }
  return "json";
}

class CorpusReader::Reader {
 public:
  Reader(std::vector<std::string> files, CorpusSettings settings) : settings_(std::move(settings)) {
    if (files.empty()) throw ConfigError("expected at least one corpus file, found none");
    for (std::string& file : files) {
      sizes_.push_back(static_cast<std::int64_t>(RowStream(file).num_bytes()));
      num_bytes_ += sizes_.back();
      files_.push_back({std::move(file), settings_.format});
    }
  }

  std::optional<Passage> next() {
    if (settings_.max_passages > 0 && counts_.num_passages >= settings_.max_passages)
      return std::nullopt;
    while (waiting_.empty()) {
      if (!read_row()) return std::nullopt;
    }
    Passage passage = std::move(waiting_.front());
    waiting_.pop_front();
    ++counts_.num_passages;
    return passage;
  }

  const RecordPlace& place() const { return place_; }
  const CorpusCounts& counts() const { return counts_; }
  const std::vector<CorpusFile>& files() const { return files_; }
  std::int64_t num_bytes() const { return num_bytes_; }
  std::int64_t num_bytes_read() const {
    std::uint64_t here = 0;
    if (rows_) here = rows_->num_bytes_read();
    if (table_) here = table_->num_bytes_read();
    return num_bytes_before_ + static_cast<std::int64_t>(here);
  }

 private:
  // False behind the last row of the last file.
  bool read_row() {
    if (!rows_ && !table_ && !open_file()) return false;
    const bool is_there = table_ ? read_table_row() : read_json_row();
    if (!is_there) close_file();
    return true;
  }

  bool open_file() {
    if (current_ == files_.size()) return false;
    CorpusFile& file = files_[current_];
    if (!file.format && is_tsv(file.path)) file.format = CorpusFormat::kTsv;
    columns_ = {0, 1, 2};
    is_first_row_ = true;
    if (file.format == CorpusFormat::kTsv) {
      table_.emplace(file.path);
    } else {
      rows_.emplace(file.path);
    }
    return true;
  }

  void close_file() {
    rows_.reset();
    table_.reset();
    num_bytes_before_ += sizes_[current_++];
    if (current_ == files_.size() && counts_.num_rows > 0 &&
        counts_.num_bad_rows == counts_.num_rows) {
      throw DataError(files_.front().path + ": every one of its " +
                      std::to_string(counts_.num_rows) +
                      " rows is bad; the first: " + counts_.bad_rows.front());
    }
  }

  template <class Action>
  void read_checked(const Action& action) {
    ++counts_.num_rows;
    const std::size_t num_waiting = waiting_.size();
    try {
      action();
    } catch (const DataError& error) {
      if (!settings_.skips_bad_rows) throw;
      waiting_.resize(num_waiting);
      ++counts_.num_bad_rows;
      if (counts_.bad_rows.size() < kMaxMessages) counts_.bad_rows.emplace_back(error.what());
    }
  }

  bool read_json_row() {
    const std::optional<StreamedRow> row = rows_->next();
    if (!row) return false;
    place_ = row->place;
    read_checked([&] {
      const JsonValue value = json_.parse(*row);
      CorpusFile& file = files_[current_];
      if (!file.format) file.format = format_of(value);
      if (*file.format == CorpusFormat::kKilt) {
        add_page(value);
      } else if (*file.format == CorpusFormat::kRecords) {
        add_documents(value);
      } else {
        add(read_json_passage(value));
      }
    });
    return true;
  }

  void add(Passage passage) {
    if (strip_whitespace(passage.text).empty()) {
      ++counts_.num_blank;
    } else {
      waiting_.push_back(std::move(passage));
    }
  }

  // The first paragraph of a page is its title; lines that start with "Section::::" are headings.
  void add_page(const JsonValue& page) {
    const auto id = page.find("wikipedia_id");
    const std::string name = id ? id->id() : page.require("_id", "a string").id();
    const std::string title(strip_whitespace(page.require("wikipedia_title", "a string").text()));
    std::size_t number = 0;
    for (const JsonValue& paragraph : page.require("text", "a list of paragraphs").items()) {
      const std::string_view text = strip_whitespace(paragraph.text());
      const std::size_t index = number++;
      if (text.starts_with("Section::::") || (index == 0 && text == title)) continue;
      add({name + "#" + std::to_string(index), title, std::string(text)});
    }
  }

  void add_documents(const JsonValue& record) {
    const auto documents = documents_of(record);
    if (!documents) record.require("docs", "a list of strings").fail("a list of strings");
    add_each(*documents);
    if (const auto gold = record.find("gold_docs")) add_each(*gold);
  }

  void add_each(const JsonValue& documents) {
    for (const JsonValue& item : documents.items("a list of strings")) {
      const std::string_view document = item.text();
      if (seen_.insert(hash_bytes(document)).second) {
        add(passage_of_document(document));
      } else {
        ++counts_.num_repeated;
      }
    }
  }

  bool read_table_row() {
    std::optional<TsvRow> row = table_->next();
    if (!row) return false;
    place_ = row->place;
    if (std::exchange(is_first_row_, false) && read_header(row->fields)) return true;
    read_checked([&] {
      if (row->fields.size() != 3) {
        throw DataError(place_.str() + ": expected 3 columns (id, text, title), found " +
                        std::to_string(row->fields.size()));
      }
      for (const std::string& field : row->fields) {
        if (find_invalid_utf8(field)) {
          throw DataError(place_.str() + ": expected UTF-8 text, found other bytes");
        }
      }
      Passage passage = {std::move(row->fields[columns_[0]]),
                         std::string(strip_whitespace(row->fields[columns_[2]])),
                         std::string(strip_whitespace(row->fields[columns_[1]]))};
      if (strip_whitespace(passage.id).empty())
        throw DataError(place_.str() + ": id: expected a string, found an empty string");
      add(std::move(passage));
    });
    return true;
  }

  // Whether the row names the columns; they may stand in any order.
  bool read_header(const std::vector<std::string>& fields) {
    constexpr std::array<std::string_view, 3> kNames = {"id", "text", "title"};
    std::array<std::size_t, 3> columns{};
    if (fields.size() != kNames.size()) return false;
    for (std::size_t i = 0; i < kNames.size(); ++i) {
      while (columns[i] < fields.size() && fields[columns[i]] != kNames[i]) ++columns[i];
      if (columns[i] == fields.size()) return false;
    }
    columns_ = columns;
    return true;
  }

  CorpusSettings settings_;
  std::vector<CorpusFile> files_;
  std::vector<std::int64_t> sizes_;
  std::int64_t num_bytes_ = 0;
  std::int64_t num_bytes_before_ = 0;  // of files that are done
  std::size_t current_ = 0;
  std::optional<RowStream> rows_;  // of the current file, or:
  std::optional<TsvStream> table_;
  bool is_first_row_ = true;
  std::array<std::size_t, 3> columns_{};  // where id, text and title stand
  JsonRow json_;
  std::deque<Passage> waiting_;
  std::unordered_set<Hash128> seen_;  // records: texts of documents
  RecordPlace place_;
  CorpusCounts counts_;
};

CorpusReader::CorpusReader(std::vector<std::string> files, CorpusSettings settings)
    : reader_(std::make_unique<Reader>(std::move(files), std::move(settings))) {}
CorpusReader::CorpusReader(CorpusReader&&) noexcept = default;
CorpusReader& CorpusReader::operator=(CorpusReader&&) noexcept = default;
CorpusReader::~CorpusReader() = default;

std::optional<Passage> CorpusReader::next() { return reader_->next(); }
const RecordPlace& CorpusReader::place() const { return reader_->place(); }
const CorpusCounts& CorpusReader::counts() const { return reader_->counts(); }
const std::vector<CorpusFile>& CorpusReader::files() const { return reader_->files(); }
std::int64_t CorpusReader::num_bytes() const { return reader_->num_bytes(); }
std::int64_t CorpusReader::num_bytes_read() const { return reader_->num_bytes_read(); }

bool read_passages(CorpusReader& corpus, const std::function<bool(const Passage&)>& take,
                   const CorpusProgress& progress) {
  constexpr std::int64_t kPassagesBetweenProgress = 1024;
  const auto show = [&] {
    if (progress)
      progress(corpus.num_bytes_read(), corpus.num_bytes(), corpus.counts().num_passages);
  };
  while (const auto passage = corpus.next()) {
    if (!take(*passage)) return false;
    if (corpus.counts().num_passages % kPassagesBetweenProgress == 0) show();
  }
  show();
  if (corpus.counts().num_passages == 0) {
    throw DataError(corpus.files().front().path +
                    ": expected passages, found none that is more than white space");
  }
  return true;
}

}  // namespace clara
