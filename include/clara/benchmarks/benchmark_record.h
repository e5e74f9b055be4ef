// A question of a benchmark as a record of this project: which passages, how their text is put
// together, the JSON line.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "clara/benchmarks/benchmark_question.h"
#include "clara/data/document_chunks.h"
#include "clara/data/document_format.h"
#include "clara/data/records.h"

namespace clara {

enum class RecordKind {
  kScp,         ///< each passage once, as a pretraining row that is to give its text back
  kTune,        ///< the documents go into the prompt
  kJoint,       ///< candidates
  kEvaluation,  ///< candidates; serves joint training too. Rows without documents are kept.
};

/// "scp", "tune", "joint" or "evaluation". Throws ConfigError that lists them.
RecordKind parse_record_kind(std::string_view name);

struct BenchmarkRecordSettings {
  RecordKind kind = RecordKind::kEvaluation;
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  /// Passages of a record, relevant ones first; 1 to kMaxDocuments.
  std::int64_t max_documents = 20;
  std::uint64_t seed = 17;  ///< of the order of passages that come by relevance
  /// Longer documents become chunks, each with the title; null: they stay whole.
  std::shared_ptr<const Tokenizer> tokenizer;
  ChunkSettings chunks;  ///< repeat_title is set by the document's layout
};

/// Passages that a limit of 20 candidates (the paper's) or of 5 documents in a prompt leaves; no
/// matter to pretraining rows, which hold one each.
std::int64_t default_max_documents(RecordKind kind);

struct BenchmarkRecordLine {
  std::string json;  ///< with its line break
  std::int64_t num_documents = 0;
  std::int64_t num_relevant = 0;           ///< of them
  std::int64_t num_split_documents = 0;    ///< passages that became several chunks
  std::int64_t num_blank_passages = 0;     ///< without title and text: left out
  std::int64_t num_left_out_passages = 0;  ///< behind max_documents
  std::int64_t num_left_out_chunks = 0;    ///< behind kMaxDocuments
};

/// Fields: id, question, answers, docs, pos_index (where the layout knows relevance),
/// supporting_titles, question_type, answerable (only if false). Passages keep their order, but
/// ranked ones are shuffled by the seed and the question. All chunks of a relevant passage are
/// relevant.
BenchmarkRecordLine to_record_line(const BenchmarkQuestion& question,
                                   const BenchmarkRecordSettings& settings);

/// A pretraining record as a line of JSON.
std::string to_record_line(const ScpRecord& record);

struct PassageTexts {
  std::vector<std::string> texts;  ///< each a document of the format, or a chunk of one
  /// Of the record that the question would become.
  BenchmarkRecordLine counts;
};

/// All passages of a question (with kScp; else as many as a record has), as to_record_line() writes
/// them.
PassageTexts passage_texts(const BenchmarkQuestion& question,
                           const BenchmarkRecordSettings& settings);

}  // namespace clara
