// What a program does as one rank of a group: joining it, and ending with one message for all.
#pragma once

#include <exception>
#include <memory>

#include "clara/parallel/communicator.h"
#include "clara/parallel/launch_env.h"
#include "clara/parallel/process_group_communicator.h"

namespace clara::tools {

/// join_group with this program's end for a rank that is stuck (settings.on_stuck).
std::unique_ptr<Communicator> join_as_rank(const LaunchEnv& env, GroupSettings settings);

/// Ends this rank at once: threads may still wait for dead peers. Rank 0 speaks for all; where it
/// died, rank 1 and the first ranks of other nodes do.
[[noreturn]] void end_rank(const LaunchEnv& env, const std::exception& error);

}  // namespace clara::tools
