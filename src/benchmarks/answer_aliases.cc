// The whole file in memory: its rows are in no order.
#include "clara/benchmarks/answer_aliases.h"

#include "benchmarks/row_parts.h"

#include "clara/data/json_row.h"

namespace clara {

AnswerAliases read_answer_aliases(const std::string& path) {
  AnswerAliases aliases;
  RowStream rows(path);
  JsonRow json;
  while (const auto row = rows.next()) {
    const JsonValue object = json.parse(*row);
    std::vector<std::string>& names = aliases[object.require("Q_id", "a string").id()];
    for (const char* field : {"aliases", "demonyms"}) {
      const auto list = object.find(field);
      if (!list) continue;
      for (const std::string& name : texts_of(*list)) add_once(names, name);
    }
  }
  return aliases;
}

}  // namespace clara
