// clara-data index dense: its arguments, and what it shows.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `index`. The result runs it, once the command line was parsed. `words`:
/// the command line, for ranks that it starts.
std::function<int()> add_index_dense_command(CLI::App& index, std::vector<std::string> words);

}  // namespace clara::tools
