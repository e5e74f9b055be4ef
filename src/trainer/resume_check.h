// What may differ between a checkpoint and the run that goes on from it.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "clara/checkpoint/run_progress.h"
#include "clara/config/run_config.h"

namespace clara {

/// What a changed setting or input means for a run that goes on.
enum class ResumeChange {
  kFree,     ///< leaves the update alone (but for rounding)
  kAllowed,  ///< changes the numbers: only where the user allows it
  kRefused,  ///< the checkpoint would not fit: never
};

/// `key`: a config key ("trainer.seed", "data.train.0.path") or the name of an input.
ResumeChange classify_resume_change(const std::string& key);

/// Compares a checkpoint's settings and inputs with those of the run that is to go on from it.
/// Returns the messages for the user: what changed, from what to what. Throws ConfigError that
/// lists every change by what it means, where one is refused, or would have to be allowed and is
/// not.
std::vector<std::string> check_resume_changes(const std::filesystem::path& checkpoint,
                                              const RunProgress& saved, const RunConfig& config,
                                              const std::map<std::string, std::string>& inputs,
                                              bool allow_changes);

}  // namespace clara
