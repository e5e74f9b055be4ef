// Rows as validation makes them, measured one by one.
#include "clara/analysis/gap_check.h"

#include <algorithm>

#include "clara/analysis/inspect_record.h"
#include "clara/common/error.h"
#include "clara/eval/opened_prompts.h"

namespace clara {
namespace {

constexpr std::uint64_t kSeed =
    17;  // draws instructions and versions, as validation does by default

Example example_of(const PromptBuilder& prompts, const RawRow& raw, std::uint64_t row) {
  if (recognise_stage(raw, Stage::kTune, 1) == Stage::kScp)
    return prompts.scp_example(parse_scp_record(raw.text, raw.place), 0, row);
  return prompts.tune_example(parse_qa_record(raw.text, raw.place));
}

}  // namespace

GapCheck check_gap(const OpenedModel& opened, const std::string& name,
                   const std::vector<RawRow>& rows, std::int64_t max_batch_tokens) {
  if (opened.description.context != "latents") {
    throw ConfigError(name +
                      ": expected a checkpoint whose generator reads latents, found one tuned on " +
                      opened.description.context);
  }
  const PromptBuilder prompts = make_prompt_builder(opened, opened.description.num_selected, kSeed);
  std::vector<Example> examples;
  for (std::size_t i = 0; i < rows.size(); ++i)
    examples.push_back(example_of(prompts, rows[i], static_cast<std::uint64_t>(i)));
  const bool has_others = std::any_of(
      examples.begin(), examples.end(),
      [&](const Example& example) { return example.documents != examples.front().documents; });
  if (!has_others)
    throw DataError("latent gap: expected rows with different documents, found none");
  GapCheck check;
  check.checkpoint = name;
  check.compression_rate = opened.description.compression_rate;
  check.num_memory_tokens = opened.description.num_memory_tokens;
  for (const Example& example : examples) check.places.push_back(example.place);
  check.rows = measure_latent_gap(*opened.model, examples, max_batch_tokens).rows;
  std::vector<double> own, other, difference, tokens;
  for (const LatentGapRow& row : check.rows) {
    own.push_back(row.own_loss);
    other.push_back(row.other_loss);
    difference.push_back(row.other_loss - row.own_loss);
    tokens.push_back(static_cast<double>(row.num_answer_tokens));
  }
  check.own_loss = bootstrap_ratio(own, tokens);
  check.other_loss = bootstrap_ratio(other, tokens);
  check.gap = bootstrap_ratio(difference, tokens);
  return check;
}

}  // namespace clara
