// Other names of answers, which 2WikiMultihopQA publishes in a file of their own.
#pragma once

#include <string>
#include <unordered_map>
#include <vector>

namespace clara {

/// Entity (`answer_id`) → its aliases and demonyms, all of which its evaluation counts as gold.
using AnswerAliases = std::unordered_map<std::string, std::vector<std::string>>;

/// Reads id_aliases.json: rows with `Q_id`, `aliases` and `demonyms` (lists, either may be
/// missing). Throws DataError with file, line and field.
AnswerAliases read_answer_aliases(const std::string& path);

}  // namespace clara
