// Ranks as threads of the test: each joins a real process group over the loopback interface.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "clara/common/error.h"
#include "clara/parallel/process_group_communicator.h"
#include "clara/parallel/store_socket.h"

namespace clara::testing {

/// How each rank's function ended: empty, or the message of its error.
using RankEnds = std::vector<std::string>;

/// Where a group of `size` ranks meets: a listening socket on a free port, which rank 0 takes over.
inline LaunchEnv meeting_place(std::int64_t size) {
  LaunchEnv env;
  env.launcher = "clara";
  env.world_size = env.local_world_size = size;
  env.master_addr = "127.0.0.1";
  const StoreSocket meeting = open_store_socket();
  env.master_port = meeting.port;
  env.store_socket = meeting.file;
  return env;
}

/// Runs `work` as rank 0 to `num_started` − 1 of `size`; they leave together.
inline RankEnds run_ranks(std::int64_t size, const std::function<void(Communicator&)>& work,
                          double timeout_seconds = 60, std::int64_t num_started = -1) {
  if (num_started < 0) num_started = size;
  // c10d records the collectives of a process in one place that is not safe for several groups at
  // once, which only these threads have; read when the first group is made.
  ::setenv("TORCH_FR_BUFFER_SIZE", "0", 1);
  ::setenv("TORCH_NCCL_TRACE_BUFFER_SIZE", "0", 1);
  const LaunchEnv place = meeting_place(size);
  RankEnds ends(static_cast<std::size_t>(num_started));
  std::vector<std::thread> threads;
  for (std::int64_t rank = 0; rank < num_started; ++rank) {
    threads.emplace_back([&, rank] {
      try {
        LaunchEnv env = place;
        env.rank = env.local_rank = rank;
        GroupSettings settings;
        settings.timeout_seconds = timeout_seconds;
        const std::unique_ptr<Communicator> communicator = join_group(env, settings);
        work(*communicator);
        communicator->leave();
      } catch (const std::exception& error) {
        ends[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return ends;
}

}  // namespace clara::testing
