// Documents of records become chunks; what points to them is moved along.
#include "clara/data/chunk_records.h"

#include <unordered_set>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/content_hash.h"
#include "clara/common/error.h"
#include "clara/data/row_source.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

bool is_scp(const Json& record) {
  return (record.contains("question") && record["question"].is_array()) ||
         (record.contains("data_type") && record["data_type"] == "paraphrase");
}

// The texts of `documents` as chunks, and where those of each begin; one more at the end.
std::vector<std::size_t> chunk_list(Json& documents, const Tokenizer& tokenizer,
                                    const ChunkSettings& settings) {
  Json chunks = Json::array();
  std::vector<std::size_t> first = {0};
  for (const Json& document : documents) {
    for (auto& chunk :
         split_document(tokenizer, document.get_ref<const std::string&>(), settings)) {
      chunks.push_back(std::move(chunk.text));
    }
    first.push_back(chunks.size());
  }
  documents = std::move(chunks);
  return first;
}

std::vector<std::string> documents_of(const RawRow& row) {
  if (is_scp(parse_json<Json>(row.text))) return {parse_scp_record(row.text, row.place).document};
  QaRecord record = parse_qa_record(row.text, row.place);
  for (std::string& document : record.gold_documents) {
    record.documents.push_back(std::move(document));
  }
  return record.documents;
}

// The chunks of documents as rows that are to give them back, each document once.
class ChunkRows {
 public:
  ChunkRows(const Tokenizer& tokenizer, const ChunkSettings& settings)
      : tokenizer_(tokenizer), settings_(settings) {}

  // Lines, one after another.
  std::string lines_of(const RawRow& row, ChunkReport& report) {
    std::string lines;
    for (const std::string& document : documents_of(row)) {
      if (!met_.insert(hash_bytes(document)).second) {
        ++report.num_met_documents;
        continue;
      }
      const std::vector<DocumentChunk> chunks = split_document(tokenizer_, document, settings_);
      for (const DocumentChunk& chunk : chunks) {
        const Json told = {
            {"data_type", "paraphrase"}, {"docs", {chunk.text}}, {"answers", {chunk.text}}};
        lines += told.dump() + "\n";
      }
      ++report.num_documents;
      report.num_split_documents += chunks.size() > 1 ? 1 : 0;
      report.num_chunks += static_cast<std::int64_t>(chunks.size());
      report.num_rows += static_cast<std::int64_t>(chunks.size());
    }
    return lines;
  }

 private:
  const Tokenizer& tokenizer_;
  const ChunkSettings& settings_;
  std::unordered_set<Hash128> met_;
};

}  // namespace

std::string chunk_record(std::string_view json, const RecordPlace& place,
                         const Tokenizer& tokenizer, const ChunkSettings& settings,
                         ChunkReport& report) {
  Json record = parse_json<Json>(json);
  if (record.is_object() && is_scp(record)) {
    const ScpRecord scp = parse_scp_record(json, place);
    const bool is_long = split_document(tokenizer, scp.document, settings).size() > 1;
    report.num_scp_rows += is_long ? 1 : 0;
    ++report.num_rows;
    ++report.num_documents;
    ++report.num_chunks;
    return record.dump();
  }
  const QaRecord qa = parse_qa_record(json, place);  // what follows may rely on all types
  for (const char* field : {"docs", "context", "content"}) {
    if (!record.contains(field) || !record[field].is_array()) continue;
    const std::vector<std::size_t> first = chunk_list(record[field], tokenizer, settings);
    const std::size_t num_documents = first.size() - 1;
    for (std::size_t k = 0; k < num_documents; ++k) {
      if (first[k + 1] - first[k] > 1) ++report.num_split_documents;
    }
    report.num_documents += static_cast<std::int64_t>(num_documents);
    report.num_chunks += static_cast<std::int64_t>(first.back());
    if (first.back() > static_cast<std::size_t>(kMaxDocuments)) ++report.num_crowded_rows;
    if (record.contains("pos_index")) {
      Json positives = Json::array();
      for (const std::int32_t index : qa.positives) {
        const auto k = static_cast<std::size_t>(index);
        for (std::size_t chunk = first[k]; chunk < first[k + 1]; ++chunk) {
          positives.push_back(chunk);
        }
      }
      record["pos_index"] = std::move(positives);
    }
    break;
  }
  if (record.contains("gold_docs")) chunk_list(record["gold_docs"], tokenizer, settings);
  ++report.num_rows;
  return record.dump();
}

ChunkReport chunk_record_file(const std::filesystem::path& file,
                              const std::filesystem::path& output, const Tokenizer& tokenizer,
                              const ChunkFileSettings& settings) {
  if (output.extension() != ".jsonl") {
    throw ConfigError(output.string() + ": expected a name that ends in .jsonl");
  }
  if (std::filesystem::exists(output) && std::filesystem::equivalent(file, output)) {
    throw ConfigError(output.string() + ": expected another file than the one that is read");
  }
  const RowSource rows({{file.string(), 1.0, 0}});
  ChunkReport report;
  ChunkRows chunk_rows(tokenizer, settings.chunks);
  AtomicFile out(output);
  for (std::int64_t i = 0; i < rows.size(); ++i) {
    const RawRow row = rows.row(i);
    try {
      out.write(settings.writes_chunks_as_rows
                    ? chunk_rows.lines_of(row, report)
                    : chunk_record(row.text, row.place, tokenizer, settings.chunks, report) + "\n");
    } catch (const DataError& error) {
      if (!settings.skips_bad_rows) throw;
      report.bad_rows.emplace_back(error.what());
    }
  }
  if (report.num_rows == 0) {
    throw DataError(file.string() + ": every one of its " + std::to_string(rows.size()) +
                    " rows is bad; the first: " + report.bad_rows.front());
  }
  out.commit();
  return report;
}

}  // namespace clara
