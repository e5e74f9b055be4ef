// The passages of a corpus, one by one from its files (interface.md "Corpora and indexes").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/data/records.h"

namespace clara {

/// A unit of retrieval.
struct Passage {
  std::string id;
  std::string title;  ///< may be empty
  std::string text;   ///< more than white space
};

/// The passage as a document of a record (numerics §3). Without a title it is the text as it
/// stands: what was a document already stays one.
std::string document_of(const Passage& passage, DocumentFormat format);

enum class CorpusFormat {
  kJson,     ///< "json": rows with id, title, text under the names that are in use
  kTsv,      ///< "tsv": columns id, text, title (DPR's psgs_w100.tsv)
  kKilt,     ///< "kilt": pages of KILT's knowledge source, a passage each paragraph
  kRecords,  ///< "records": the documents of this project's records, each text once
};

/// All names, in the order of the enum.
std::vector<std::string> corpus_format_names();
/// Throws ConfigError that lists the names.
CorpusFormat parse_corpus_format(std::string_view name);
std::string to_string(CorpusFormat format);

struct CorpusSettings {
  std::optional<CorpusFormat> format;  ///< empty: recognised, for each file by itself
  bool skips_bad_rows = false;         ///< else the first one throws
  std::int64_t max_passages = 0;       ///< 0 = all
};

struct CorpusFile {
  std::string path;
  std::optional<CorpusFormat> format;  ///< once its first row was read
};

struct CorpusCounts {
  std::int64_t num_rows = 0;      ///< read
  std::int64_t num_passages = 0;  ///< given out
  std::int64_t num_blank = 0;     ///< passages of only white space: left out
  std::int64_t num_repeated = 0;  ///< records: documents with a text that came before: left out
  std::int64_t num_bad_rows = 0;
  std::vector<std::string> bad_rows;  ///< messages of the first 100
};

/// Reads .jsonl, .json (arrays, objects) and .tsv, each also as .gz. Fields of JSON rows: `id`,
/// `_id`, `doc_id` or `docid`; `title`, optional; `text`, `contents`, `content` or `body`. Without
/// a title, the first line of `contents` is one (quotes around it are taken off). Texts are kept
/// but for white space at their ends. A document of a record whose first line reads as a title
/// becomes a title and a text that give the document again, any other a text without title; its id
/// is the hash of its text. Ids are not compared here: an index does that. Memory: the longest row;
/// for records also 16 bytes a distinct document.
class CorpusReader {
 public:
  /// Opens each file once, so that a wrong name is told at once. Throws DataError, ConfigError
  /// where `files` is empty.
  explicit CorpusReader(std::vector<std::string> files, CorpusSettings settings = {});
  CorpusReader(CorpusReader&&) noexcept;
  CorpusReader& operator=(CorpusReader&&) noexcept;
  ~CorpusReader();

  /// Empty behind the last passage. Throws DataError "file:line: field: expected …, found …", and
  /// for files as RowStream and TsvStream do.
  std::optional<Passage> next();
  /// Of the row that the last passage came from.
  const RecordPlace& place() const;

  const CorpusCounts& counts() const;
  const std::vector<CorpusFile>& files() const;
  /// Bytes of all files, and those read so far (of .gz: packed).
  std::int64_t num_bytes() const;
  std::int64_t num_bytes_read() const;

 private:
  class Reader;
  std::unique_ptr<Reader> reader_;
};

/// Called now and then while passages are read.
using CorpusProgress =
    std::function<void(std::int64_t num_bytes_read, std::int64_t num_bytes, std::int64_t rows)>;

/// Gives `take` the passages that are left, one by one, until it answers false. Whether it took all
/// of them. Throws DataError for a corpus without passages, else as CorpusReader.
bool read_passages(CorpusReader& corpus, const std::function<bool(const Passage&)>& take,
                   const CorpusProgress& progress = {});

}  // namespace clara
