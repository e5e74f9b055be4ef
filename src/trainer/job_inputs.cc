// Text side, prompts, rows: in the order in which mistakes are cheapest to find.
#include "trainer/job_inputs.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "trainer/input_fingerprint.h"

#include "clara/common/error.h"
#include "clara/model/base_config.h"
#include "clara/model/base_llm.h"
#include "clara/trainer/sequence_limits.h"

namespace clara {
namespace {

/// A pass of validation reads each row once; a weight there would silently be without effect.
void check_validation_weights(const std::vector<DataSource>& sources) {
  for (std::size_t i = 0; i < sources.size(); ++i) {
    if (sources[i].weight == 1) continue;
    throw ConfigError("data.validation." + std::to_string(i) +
                      ".weight: validation reads each row once and has no use for a weight; leave "
                      "it out (max_rows takes the first rows of a file)");
  }
}

}  // namespace

JobInputs open_inputs(const RunConfig& config, bool look_only) {
  check_validation_weights(config.data.validation);
  const BaseConfig base = load_base_config(config.model.base);
  check_sequence_limits(config, base);
  check_base_tensors(config.model.base, base);
  JobInputs inputs;
  inputs.text =
      open_text_side(config.model.base, config.num_memory_tokens(), config.model.chat_format);
  inputs.prompts = std::make_unique<PromptBuilder>(
      *inputs.text.tokenizer, inputs.text.chat_format, inputs.text.special_tokens,
      inputs.text.bos_id, inputs.text.eos_id,
      PromptSettings{config.model.doc_max_tokens, config.trainer.max_sequence_tokens,
                     config.objective.num_selected, config.trainer.seed,
                     parse_answer_context(config.objective.context)});
  const ExampleBuilder builder(config.stage, *inputs.prompts);
  const bool skip = config.data.on_bad_record == "skip";
  inputs.data = std::make_unique<RecordTrainingData>(
      RowSource(config.data.train, config.data.max_rows), builder, config.data.shuffle_seed, skip);
  std::optional<RowSource> validation;
  if (!config.data.validation.empty()) {
    // Spread over all files, where there are more rows than are used.
    validation.emplace(config.data.validation);
    const std::int64_t limit = config.trainer.max_validation_rows;
    const std::int64_t used = limit > 0 ? std::min(limit, validation->size()) : validation->size();
    for (std::int64_t k = 0; k < used; ++k) {
      const std::int64_t i = k * validation->size() / used;
      try {
        inputs.validation.push_back(
            builder.build(validation->row(i), 0, static_cast<std::uint64_t>(i)));
      } catch (const DataError& error) {
        if (!skip && !look_only) throw;
        inputs.skipped_validation.emplace_back(error.what());
      }
    }
  }
  inputs.fingerprints =
      fingerprint_inputs(config, inputs.data->source(), validation ? &*validation : nullptr);
  // The first row tells of a wrong kind of file before any weight is read.
  if (!look_only) (void)inputs.data->row(0, 0);
  return inputs;
}

}  // namespace clara
