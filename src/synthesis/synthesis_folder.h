// The folder of a run of synthesis: what it was begun with.
#pragma once

#include <filesystem>

#include "clara/synthesis/synthesis_prompts.h"
#include "clara/synthesis/synthesize.h"

namespace clara {

/// Folder of this job's shard.
std::filesystem::path synthesis_folder(const SynthesisJob& job);

/// Writes settings.json into a folder that has none, or compares: everything that changes which
/// rows come out, and nothing of the server but the model. Throws ConfigError that lists what
/// differs.
void claim_synthesis_folder(const std::filesystem::path& folder, const SynthesisJob& job,
                            const SynthesisPrompts& prompts);

}  // namespace clara
