// One question over a list of documents (clara-eval ask).
#pragma once

#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/eval/eval_settings.h"
#include "clara/eval/row_answerer.h"

namespace clara {

/// Answers `question` from `documents` (at least one; any number: all are encoded where the query
/// reasoner selects). `settings.setting` plays no part. Throws DataError for a question of only
/// white space or no documents.
RowAnswer ask(const OpenedModel& opened, const std::string& question,
              const std::vector<std::string>& documents, const EvalSettings& settings);

}  // namespace clara
