// Rows for a check by eye: a sample, each row beside its documents, and verdicts that are kept
// (interface.md "Commands", clara-data inspect --review). Needs no LibTorch.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "clara/common/append_file.h"
#include "clara/data/row_source.h"

namespace clara {

/// `count` different rows of `num_rows`, drawn from the seed, in the order drawn; all where there
/// are no more. A larger count begins with the rows of a smaller one.
std::vector<std::int64_t> sample_rows(std::int64_t num_rows, std::int64_t count,
                                      std::uint64_t seed);

struct RowStyle {
  std::int32_t width = 100;  ///< columns of the terminal
  bool colors = false;
};

/// Place, then questions with their answers (paraphrase rows: the versions) and the documents, gold
/// ones marked, wrapped; an answer that no document holds word for word is said so. A row that is
/// no record is shown as it is, with what is wrong.
std::string render_row(const RawRow& raw, const RowStyle& style = {});

enum class Verdict : std::size_t { kGood, kBad, kUnsure };
/// "good", "bad", "unsure".
std::string to_string(Verdict verdict);

/// What a reviewer typed.
struct ReviewAnswer {
  enum class Kind { kVerdict, kSkip, kQuit, kUnknown };
  Kind kind = Kind::kUnknown;
  Verdict verdict = Verdict::kUnsure;
  std::string note;
};

/// "g", "good", "b the year is wrong", "u", "s", "skip", "q": the first word, or its first letter,
/// then a note.
ReviewAnswer parse_review_answer(std::string_view line);

/// Verdicts in a JSONL file, one object a line: place, row (a hash of the row's text), verdict,
/// note. A row keeps its verdict when its file is sorted anew; of several the last one counts.
class VerdictFile {
 public:
  /// Reads what is there; a last line that was cut off is left out. Throws DataError "file:line:
  /// …".
  explicit VerdictFile(std::filesystem::path path);

  std::optional<Verdict> find(const RawRow& raw) const;
  /// Appends a verdict, which is on the disk when this returns. Throws Error where it cannot be.
  void add(const RawRow& raw, Verdict verdict, const std::string& note);
  /// Rows of each verdict.
  std::array<std::int64_t, 3> counts() const;

 private:
  std::unordered_map<std::string, Verdict> verdicts_;  // by hash
  AppendFile file_;
};

/// "12 good, 1 bad, 0 unsure: 92.3 % good".
std::string render_verdict_counts(const std::array<std::int64_t, 3>& counts);

}  // namespace clara
