// clara-data index: an index over a corpus, a subcommand each kind.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

namespace clara::tools {

/// Adds the subcommand to `app`. The result runs it, once the command line was parsed. `words`: the
/// command line, for ranks that it starts.
std::function<int()> add_index_command(CLI::App& app, const std::vector<std::string>& words);

}  // namespace clara::tools
