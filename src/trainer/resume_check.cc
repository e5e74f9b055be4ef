// Settings and inputs, then and now.
#include "trainer/resume_check.h"

#include <algorithm>

#include "clara/common/error.h"
#include "clara/config/load_config.h"

namespace clara {
namespace {

/// "data.train" is begun by data.train and data.train.0, not by data.training.
bool is_below(const std::string& key, const std::string& section) {
  return key == section || key.starts_with(section + ".");
}

std::vector<std::string> changed_inputs(const std::map<std::string, std::string>& then,
                                        const std::map<std::string, std::string>& now) {
  std::vector<std::string> lines;
  const auto find = [](const std::map<std::string, std::string>& inputs, const std::string& name) {
    const auto it = inputs.find(name);
    return it == inputs.end() ? std::string("none") : it->second;
  };
  std::map<std::string, std::string> names = then;
  names.insert(now.begin(), now.end());
  for (const auto& [name, unused] : names) {
    const std::string a = find(then, name), b = find(now, name);
    if (a != b) lines.push_back(name + ": " + a + " -> " + b);
  }
  return lines;
}

std::string listed(const std::string& heading, const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += (text.empty() ? heading : "") + ("\n  " + line);
  return text;
}

}  // namespace

ResumeChange classify_resume_change(const std::string& key) {
  static const char* const kFree[] = {"logging",
                                      "output",
                                      "data.validation",
                                      "file of data.validation",
                                      "model.device",
                                      "trainer.validate_every_steps",
                                      "trainer.max_validation_rows",
                                      "trainer.rows_per_micro_batch",
                                      "trainer.max_tokens_per_micro_batch",
                                      "trainer.activation_checkpointing",
                                      "trainer.num_threads",
                                      "objective.latent_cache",
                                      "objective.latent_cache_folder",
                                      "parallel"};
  // Another objective, or tensors of other shapes.
  static const char* const kRefused[] = {"stage",
                                         "model.lora.rank",
                                         "model.lora.target_modules",
                                         "model.doc_max_tokens",
                                         "model.compression_rate",
                                         "objective.context"};
  const auto matches = [&key](const char* section) { return is_below(key, section); };
  if (std::any_of(std::begin(kFree), std::end(kFree), matches)) return ResumeChange::kFree;
  if (std::any_of(std::begin(kRefused), std::end(kRefused), matches)) return ResumeChange::kRefused;
  return ResumeChange::kAllowed;
}

std::vector<std::string> check_resume_changes(const std::filesystem::path& checkpoint,
                                              const RunProgress& saved, const RunConfig& config,
                                              const std::map<std::string, std::string>& inputs,
                                              bool allow_changes) {
  const RunConfig then = parse_run_config(saved.config_yaml, checkpoint.string() + "/config");
  std::vector<std::string> changes = diff_run_configs(then, config);
  std::vector<std::string> messages;
  if (saved.inputs.empty()) {
    messages.push_back("warning: " + checkpoint.string() +
                       " is of an earlier release and does not say what its data files held; that "
                       "they are the same is not checked");
  } else {
    const std::vector<std::string> files = changed_inputs(saved.inputs, inputs);
    changes.insert(changes.end(), files.begin(), files.end());
  }
  std::vector<std::string> free, allowed, refused;
  for (const std::string& line : changes) {
    const ResumeChange change = classify_resume_change(line.substr(0, line.find(": ")));
    (change == ResumeChange::kFree      ? free
     : change == ResumeChange::kAllowed ? allowed
                                        : refused)
        .push_back(line);
  }
  const std::string free_text = listed("\nthese differ and may:", free);
  if (!refused.empty()) {
    throw ConfigError(
        checkpoint.string() +
        listed(": these settings differ from the checkpoint's, which would not fit them:",
               refused) +
        listed("\nthese differ and would change the result:", allowed) + free_text +
        "\nresume with the checkpoint's settings, or start a new run in another output.folder with "
        "model.init_from");
  }
  if (!allowed.empty() && !allow_changes) {
    throw ConfigError(
        checkpoint.string() +
        listed(
            ": these settings or files differ from the checkpoint's and would change the result:",
            allowed) +
        free_text +
        "\nresume with the checkpoint's settings, or allow the changes with --allow-changes, or "
        "start a new run in another output.folder with model.init_from");
  }
  if (!allowed.empty()) {
    messages.push_back(
        "warning: --allow-changes: the run goes on with changes that alter its "
        "result:" +
        listed("", allowed));
  }
  if (!free.empty())
    messages.push_back("changed since the checkpoint, without effect on the update:" +
                       listed("", free));
  return messages;
}

}  // namespace clara
