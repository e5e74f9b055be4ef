// What a launcher tells a process about its group: torchrun, srun, mpirun, clara-train itself. Read
// and checked here and nowhere else. Needs no LibTorch.
#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace clara {

/// A process's place in its group, and where the group meets.
struct LaunchEnv {
  std::string launcher = "none";  ///< none | torchrun | slurm | mpi | clara
  std::int64_t rank = 0;
  std::int64_t world_size = 1;
  std::int64_t local_rank = 0;        ///< among the ranks of this node
  std::int64_t local_world_size = 1;  ///< ranks of this node
  std::string master_addr;            ///< host of rank 0, or of the launcher's store
  std::int64_t master_port = 0;
  /// The launcher serves the store (TORCHELASTIC_USE_AGENT_STORE); else rank 0 does.
  bool store_is_launchers = false;
  std::int64_t restart_count = 0;  ///< how often an elastic launcher started the group again
  /// A listening socket that rank 0 inherited for its store; -1: it opens its own.
  std::int64_t store_socket = -1;
};

/// The variables that LaunchEnv is read from, of the process's environment.
std::map<std::string, std::string> environment_variables();

/// Looks for, in this order: RANK and WORLD_SIZE (torchrun, and clara-train's own ranks), a step of
/// srun (SLURM_STEP_NUM_TASKS), Open MPI (OMPI_COMM_WORLD_*), MPICH and Intel MPI (PMI_*). None of
/// them, or a group of one: a single process. Throws one ConfigError that lists every variable
/// that is missing, is no number or contradicts another.
LaunchEnv read_launch_env(const std::map<std::string, std::string>& variables);

/// First host of a Slurm node list: "node[07-09,12],gpu3" → "node07".
std::string first_slurm_host(const std::string& node_list);

/// "rank 2 of 8", as messages name a rank.
std::string rank_name(std::int64_t rank, std::int64_t world_size);

}  // namespace clara
