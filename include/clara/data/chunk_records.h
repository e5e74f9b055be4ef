// Record files with their long documents split into chunks.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "clara/data/document_chunks.h"
#include "clara/data/records.h"

namespace clara {

/// What happened to the rows of a file.
struct ChunkReport {
  std::int64_t num_rows = 0;             ///< written
  std::int64_t num_documents = 0;        ///< of them, before
  std::int64_t num_split_documents = 0;  ///< that became several
  std::int64_t num_chunks = 0;           ///< documents, after
  std::int64_t num_crowded_rows = 0;     ///< with more than kMaxDocuments documents now
  std::int64_t num_scp_rows = 0;         ///< scp rows with a long document: left as they are
  std::int64_t num_met_documents = 0;    ///< left out, since an earlier row has them
  std::vector<std::string> bad_rows;     ///< messages of rows that were left out
};

/// One record as JSON with each document of `docs` (`context`, `content`) and `gold_docs` replaced
/// by its chunks; `pos_index` then names all chunks of a relevant document. Other fields stay. The
/// questions of an scp row belong to its document as a whole: such a row is not changed. Counts go
/// to `report`. Throws DataError "file:line: field: …" for a wrong record.
std::string chunk_record(std::string_view json, const RecordPlace& place,
                         const Tokenizer& tokenizer, const ChunkSettings& settings,
                         ChunkReport& report);

struct ChunkFileSettings {
  ChunkSettings chunks;
  /// Each chunk becomes a paraphrase row of its own, which is to give it back from its latents;
  /// questions and answers of the rows are left out, and a document that was met before is not told
  /// again. Short chunks that are filled (ChunkSettings::fills_chunks) are what a compressor learns
  /// first.
  bool writes_chunks_as_rows = false;
  bool skips_bad_rows = false;  ///< a wrong record is left out and reported, else thrown
};

/// Rewrites the records of `file` (.jsonl, .jsonl.gz, .json) into `output` (.jsonl), which appears
/// whole or not at all. Throws ConfigError for settings or a name out of range, DataError for a
/// wrong record.
ChunkReport chunk_record_file(const std::filesystem::path& file,
                              const std::filesystem::path& output, const Tokenizer& tokenizer,
                              const ChunkFileSettings& settings);

}  // namespace clara
