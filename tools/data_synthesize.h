// clara-data synthesize: its arguments, and what it shows.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `app`. The result runs it, once the command line was parsed.
std::function<int()> add_synthesize_command(CLI::App& app);

}  // namespace clara::tools
