// Joining and ending.
#include "tools/rank_process.h"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <string>

#include "tools/exit_codes.h"
#include <c10/util/Logging.h>
#include <unistd.h>

#include "clara/parallel/process_group_communicator.h"

namespace clara::tools {
namespace {

[[noreturn]] void end_now(int code) {
  std::cout.flush();
  std::cerr.flush();
  ::_exit(code);
}

/// Whether rank 0 cannot tell this itself.
bool is_end_of_rank_0(const std::string& text) {
  if (text.find("rank 0 of ") == std::string::npos) return false;
  return text.find(" died") != std::string::npos || text.find(" hangs") != std::string::npos;
}

}  // namespace

std::unique_ptr<Communicator> join_as_rank(const LaunchEnv& env, GroupSettings settings) {
  // A peer that died closes its sockets; writing to one is an error to be told, not a silent end.
  if (env.world_size > 1) std::signal(SIGPIPE, SIG_IGN);
  // c10d logs every broken connection with a stack; the errors of the group say it once.
  if (std::getenv("TORCH_CPP_LOG_LEVEL") == nullptr) FLAGS_caffe2_log_level = 3;
  settings.on_stuck = [](const std::string& cause) {
    print_error(cause);
    end_now(kExitDistributed);
  };
  return join_group(env, settings);
}

void end_rank(const LaunchEnv& env, const std::exception& error) {
  const std::string text = error_text(error);
  // Rank 1 may have died with rank 0's node: then the first rank of each other node tells it.
  const bool speaks_for_rank_0 = env.rank == 1 || env.local_rank == 0;
  if (env.rank == 0 || (speaks_for_rank_0 && is_end_of_rank_0(text))) print_error(text);
  end_now(exit_code_of(error));
}

}  // namespace clara::tools
