// settings.json of a run.
#include "synthesis/synthesis_folder.h"

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"

namespace clara {
namespace {

using Json = nlohmann::ordered_json;

// Raised when journals of an earlier form can no longer be read.
constexpr int kFolderFormat = 1;

Json settings_json(const SynthesisJob& job, const SynthesisPrompts& prompts) {
  const SynthesisSettings& settings = job.settings;
  const CheckSettings& checks = settings.checks;
  Json kinds = Json::array();
  for (const SynthesisKind kind : settings.kinds) kinds.push_back(to_string(kind));
  return {
      {"format", kFolderFormat},
      {"model", job.server.model},
      {"prompts", prompts.fingerprint().hex()},
      {"shard", std::to_string(job.shard) + "/" + std::to_string(job.num_shards)},
      {"document_format", to_string(job.document_format)},
      {"kinds", std::move(kinds)},
      {"num_pairs", settings.num_pairs},
      {"max_pairs", settings.max_pairs},
      {"max_rounds", settings.max_rounds},
      {"min_document_words", settings.min_document_words},
      {"max_document_characters", settings.max_document_characters},
      {"temperature", settings.temperature},
      {"seed", settings.seed},
      {"max_answer_tokens", settings.max_answer_tokens},
      {"min_grounding", checks.min_grounding},
      {"min_grounding_complex", checks.min_grounding_complex},
      {"max_question_overlap", checks.max_question_overlap},
      {"refuses_leaks", checks.refuses_leaks},
      {"max_question_characters", checks.max_question_characters},
      {"max_answer_characters", checks.max_answer_characters},
      {"max_run_overlap", checks.max_run_overlap},
      {"min_word_overlap", checks.min_word_overlap},
      {"min_length_ratio", checks.min_length_ratio},
      {"max_length_ratio", checks.max_length_ratio},
  };
}

}  // namespace

std::filesystem::path synthesis_folder(const SynthesisJob& job) {
  if (job.num_shards == 1) return job.output;
  return job.output /
         ("shard-" + std::to_string(job.shard) + "-of-" + std::to_string(job.num_shards));
}

void claim_synthesis_folder(const std::filesystem::path& folder, const SynthesisJob& job,
                            const SynthesisPrompts& prompts) {
  constexpr int kIndent = 2;
  const std::filesystem::path path = folder / "settings.json";
  const Json now = settings_json(job, prompts);
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    if (std::filesystem::exists(folder / "journal.jsonl", ignored) ||
        std::filesystem::exists(folder / "rows.jsonl", ignored)) {
      throw ConfigError(folder.string() +
                        ": expected an empty folder or one with settings.json, found rows without "
                        "it; name another --output");
    }
    write_file_atomically(path, now.dump(kIndent) + "\n");
    return;
  }
  const Json before = parse_json<Json>(read_file(path));
  if (before.is_discarded() || !before.is_object())
    throw DataError(path.string() + ": expected the settings of a run, found no JSON object");
  std::string differences;
  for (const auto& [name, value] : now.items()) {
    const auto found = before.find(name);
    if (found != before.end() && *found == value) continue;
    differences += "\n  " + name + ": " + (found == before.end() ? "none" : found->dump()) +
                   " -> " + value.dump();
  }
  if (differences.empty()) return;
  throw ConfigError(
      folder.string() +
      ": was begun with other settings; give those, or name another --output:" + differences);
}

}  // namespace clara
