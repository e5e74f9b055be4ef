// Candidates of questions from an index over a corpus: records in, records with documents out.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "clara/data/document_format.h"
#include "clara/retrieval/passage_search.h"

namespace clara {

/// Which documents a record gets.
enum class CandidateMode {
  kNormal,         ///< what was found; gold documents only where they were found
  kOracle,         ///< gold documents that were not found replace the last others
  kInBenchmark,    ///< the record's own documents, filled up with what was found
  kHardNegatives,  ///< gold documents and the best others that do not hold an answer
};

struct CandidateSettings {
  CandidateMode mode = CandidateMode::kNormal;
  std::int64_t num_candidates = 20;     ///< 1 to kMaxDocuments
  std::int64_t num_hard_negatives = 0;  ///< kHardNegatives
  DocumentFormat document_format = DocumentFormat::kTitleNewline;
  /// Of the order under kOracle and kHardNegatives, which would give the gold documents away.
  std::uint64_t seed = 17;
  bool skips_bad_rows = false;
  bool replaces = false;  ///< an output that is there
};

struct CandidateReport {
  static constexpr std::array<std::int32_t, 3> kCutoffs = {1, 5, 20};

  std::int64_t num_read = 0;
  std::int64_t num_written = 0;
  std::int64_t num_documents = 0;          ///< written
  std::int64_t num_repeated = 0;           ///< left out: texts that the record had already
  std::int64_t num_gold_added = 0;         ///< gold documents that were not found and were put in
  std::int64_t num_filled = 0;             ///< kInBenchmark: documents from the index
  std::int64_t num_with_answer = 0;        ///< kHardNegatives: left out, since they hold an answer
  std::int64_t num_short = 0;              ///< rows with fewer documents than were asked for
  std::int64_t num_without_gold = 0;       ///< rows that tell no gold document: not in recall
  std::int64_t num_without_documents = 0;  ///< dropped: nothing was found
  std::int64_t num_bad_rows = 0;
  std::vector<std::string> bad_rows;  ///< messages of the first 100
  /// Means of what the index found: the share of the gold documents among the first k, and whether
  /// one of them holds an answer.
  std::array<double, 3> recall{};
  std::array<double, 3> answer_recall{};
};

using CandidateProgress =
    std::function<void(std::int64_t num_bytes_read, std::int64_t num_bytes, std::int64_t rows)>;

/// Reads records (`question`, answers as in parse_qa_record; `docs`, `pos_index`, `gold_docs`,
/// `supporting_titles` where there are any) and writes them to `output` (.jsonl or .jsonl.gz, whole
/// or not at all) with `docs`, `pos_index` and `gold_docs` (gold documents that are not among
/// `docs`) anew; other fields stay. Texts that differ in case, punctuation and white space only are
/// one. A passage is gold if its text is a gold document's, or if its title is a supporting title
/// of which the record has no gold document. Throws ConfigError for settings and names, DataError
/// "file:line: field: …".
CandidateReport retrieve_candidates(const std::string& data, const std::filesystem::path& output,
                                    const PassageSearch& index, const CandidateSettings& settings,
                                    const CandidateProgress& progress = {});

/// The report as a table for a person.
std::string render_candidate_report(const CandidateReport& report);

}  // namespace clara
