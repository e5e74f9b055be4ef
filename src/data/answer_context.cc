// Names of contexts.
#include "clara/data/answer_context.h"

#include "common/name_table.h"

namespace clara {
namespace {

constexpr NameTable<AnswerContext, 3> kContexts = {{{AnswerContext::kLatents, "latents"},
                                                    {AnswerContext::kText, "text"},
                                                    {AnswerContext::kNone, "none"}}};

}  // namespace

AnswerContext parse_answer_context(std::string_view name) {
  return parse_name(kContexts, "context", name);
}
std::string to_string(AnswerContext context) { return name_of(kContexts, context); }
std::vector<std::string> answer_context_names() { return names_of(kContexts); }

}  // namespace clara
