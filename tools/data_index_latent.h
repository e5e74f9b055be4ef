// clara-data index latent: its arguments.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `index`. The result runs it, once the command line was parsed.
std::function<int()> add_index_latent_command(CLI::App& index);

}  // namespace clara::tools
