// The kinds of indexes, each in a file of its own.
#include "tools/data_index.h"

#include "tools/data_index_bm25.h"
#include "tools/data_index_dense.h"
#include "tools/data_index_latent.h"

namespace clara::tools {

std::function<int()> add_index_command(CLI::App& app, const std::vector<std::string>& words) {
  CLI::App* command = app.add_subcommand("index", "an index over the passages of a corpus");
  command->require_subcommand(1);
  const std::function<int()> bm25 = add_index_bm25_command(*command);
  const std::function<int()> dense = add_index_dense_command(*command, words);
  const std::function<int()> latent = add_index_latent_command(*command, words);
  return [command, bm25, dense, latent] {
    if (command->got_subcommand("bm25")) return bm25();
    return command->got_subcommand("dense") ? dense() : latent();
  };
}

}  // namespace clara::tools
