// What the teacher is asked to answer with, and how its answers are read: leniently as JSON,
// strictly as values.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace clara {

struct QaPair {
  std::string question;
  std::string answer;
  friend bool operator==(const QaPair&, const QaPair&) = default;
};

/// What the teacher thinks of questions or a paraphrase.
struct Verdict {
  std::vector<std::string> missing;       ///< key facts
  std::vector<std::size_t> wrong_pairs;   ///< from 0; questions only
  std::vector<std::string> wrong_claims;  ///< paraphrase only
  /// The teacher says so, and names nothing that is missing or wrong.
  bool is_complete = false;
};

/// JSON schemas of the answers, and their names for the server.
struct AnswerSchema {
  std::string_view name;
  std::string_view json;
};
extern const AnswerSchema kPairsSchema;
extern const AnswerSchema kParaphraseSchema;
extern const AnswerSchema kQuestionsVerdictSchema;
extern const AnswerSchema kParaphraseVerdictSchema;

/// {"pairs": [{question, answer}, …]}; also the list alone, a single pair, pairs one after another.
/// Empty: there is none. Items that are no pair of two strings are left out and counted.
struct PairsAnswer {
  std::vector<QaPair> pairs;  ///< white space around the texts removed
  std::size_t num_malformed = 0;
};
std::optional<PairsAnswer> read_pairs(std::string_view answer);

/// {"paraphrase": text}.
std::optional<std::string> read_paraphrase(std::string_view answer);

/// {"covered": [text], "missing": [text], "wrong": [], "complete": bool}; covered and wrong may be
/// left out. `num_pairs`: how many questions were judged (their numbers begin at 1); 0 = a
/// paraphrase.
std::optional<Verdict> read_verdict(std::string_view answer, std::size_t num_pairs);

}  // namespace clara
