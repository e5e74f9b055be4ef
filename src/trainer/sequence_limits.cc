// The limits of the config against those of the base model.
#include "clara/trainer/sequence_limits.h"

#include <string>

#include "clara/common/error.h"

namespace clara {

void check_sequence_limits(const RunConfig& config, const BaseConfig& base) {
  const std::int64_t longest = base.longest_sequence();
  const std::int64_t added = 3 + config.num_memory_tokens();
  const auto fail = [&](const std::string& key, std::int64_t found, std::int64_t fitting) {
    throw ConfigError(key + ": sequences of " + std::to_string(found) +
                      " tokens are longer than the base model's " + base.longest_sequence_reason() +
                      "; set it to " + std::to_string(fitting) + " or less");
  };
  const std::int64_t document = config.model.doc_max_tokens + added;
  if (document > longest) fail("model.doc_max_tokens", document, longest - added);
  if (config.stage != Stage::kRetriever && config.trainer.max_sequence_tokens > longest)
    fail("trainer.max_sequence_tokens", config.trainer.max_sequence_tokens, longest);
}

}  // namespace clara
