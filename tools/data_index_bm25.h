// clara-data index bm25: its arguments and what it tells when it is done.
#pragma once

#include <functional>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `index`. The result runs it, once the command line was parsed.
std::function<int()> add_index_bm25_command(CLI::App& index);

}  // namespace clara::tools
