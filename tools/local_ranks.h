// Starts the ranks of a group on this machine and watches them (--num-processes).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "clara/parallel/launch_env.h"

namespace clara::tools {

struct LocalRanks {
  std::int64_t num_processes = 1;
  std::vector<std::string> arguments;  ///< of this program, without its name
  double timeout_seconds = 300;        ///< what the ranks get to notice the death of one of them
  std::string logs;  ///< "run/log_rank_": where ranks other than 0 log; empty: nowhere
};

/// Throws ConfigError where another launcher has started this process as a rank.
void refuse_other_launcher(const LaunchEnv& env);

/// Each rank is this program with the same arguments less --num-processes, in the environment that
/// read_launch_env knows. Returns when all have ended: 0; 128 + n after a stop signal; else the
/// code of the rank that failed first, 4 for one that was killed. The ranks do not outlive this
/// process.
int run_local_ranks(const LocalRanks& ranks);

}  // namespace clara::tools
