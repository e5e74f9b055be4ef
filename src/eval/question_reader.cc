// By the stage that a checkpoint was trained in.
#include "clara/eval/question_reader.h"

#include "clara/eval/eval_settings.h"

namespace clara {

AdapterRole question_reader(const ModelDescription& description) {
  const bool is_trained = default_selector(description.stage) == DocumentSelector::kQueryReasoner &&
                          description.holds(AdapterRole::kQueryReasoner);
  return is_trained ? AdapterRole::kQueryReasoner : AdapterRole::kCompressor;
}

}  // namespace clara
