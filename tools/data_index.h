// clara-data index: an index over a corpus, a subcommand each kind.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `app`. The result runs it, once the command line was parsed.
std::function<int()> add_index_command(CLI::App& app);

}  // namespace clara::tools
