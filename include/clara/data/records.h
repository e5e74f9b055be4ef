// The records of training and evaluation (interface.md "Records"), as read from JSON lines.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

/// Where a record came from: "data/train.jsonl", 381.
struct RecordPlace {
  std::string file;
  std::int64_t line = 0;  ///< counted from 1; for .json arrays the element's number
  std::string str() const { return file + ":" + std::to_string(line); }
};

/// A row of salient compressor pretraining: one document and what must be answered from its
/// latents.
struct ScpRecord {
  enum class Kind { kQa, kParaphrase };
  Kind kind = Kind::kQa;
  std::vector<std::string> questions;  ///< QA: same length as answers; paraphrase: empty
  std::vector<std::string> answers;    ///< paraphrase: the versions, one drawn an epoch
  std::string document;
  std::optional<int> instruction;  ///< paraphrase: 1..13, or drawn from the run's seed
  RecordPlace place;
};

/// A question with documents: tune, joint, retriever and evaluation rows.
struct QaRecord {
  std::string id;  ///< evaluation; empty where the row has none
  std::string question;
  /// tune: the prompt's documents; joint, evaluation: K candidates
  std::vector<std::string> documents;
  /// The first one is trained on; all gold answers and aliases are kept, each once.
  std::vector<std::string> answers;
  /// Indices into documents (`pos_index`), each once; may be empty.
  std::vector<std::int32_t> positives;
  /// Evaluation: texts of the gold documents (`gold_docs`), which need not be among documents.
  std::vector<std::string> gold_documents;
  RecordPlace place;
};

/// Documents that a row may hold unless the caller sets another limit.
inline constexpr std::int64_t kMaxDocuments = 64;

/// What a record may hold at most.
struct RecordLimits {
  std::int64_t max_documents = kMaxDocuments;
};

/// Parses one JSON object with `data_type` ("qa", the default, or "paraphrase"), `docs` (one
/// string), `answers` and, for QA, `question` (lists of the same length). Unknown fields are
/// ignored. `docs` may be named `context` or `content`; of several the first that holds a list
/// counts. Texts are kept as they are; one of only white space is refused. Throws DataError
/// "file:line: field: expected …, found …" (what is no JSON: "file:line: byte N: …").
ScpRecord parse_scp_record(std::string_view json, const RecordPlace& place,
                           const RecordLimits& limits = {});

/// The answers are all of `answer` (a string), `answers` and `golden_answers` (lists) and
/// `gold_answer` (a string or a list), in this order, each text once; the first is trained on:
/// ml-clara rows that carry both `gold_answer` and `answer` train on `answer`. `id` is a string or
/// a whole number; `pos_index` counts documents from 0; `gold_docs` is a list of texts,
/// possibly empty. Errors as above.
QaRecord parse_qa_record(std::string_view json, const RecordPlace& place,
                         const RecordLimits& limits = {});

}  // namespace clara
