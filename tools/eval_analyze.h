// clara-eval analyze: what the latents and the query reasoner of a checkpoint hold, a subcommand
// each question.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `app`. The result runs it, once the command line was parsed.
std::function<int()> add_analyze_command(CLI::App& app);

}  // namespace clara::tools
