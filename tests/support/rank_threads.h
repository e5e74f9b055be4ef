// Ranks as threads of the test: each joins a real process group over the loopback interface.
#pragma once

#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clara/common/error.h"
#include "clara/parallel/process_group_communicator.h"

namespace clara::testing {

/// How each rank's function ended: empty, or the message of its error.
using RankEnds = std::vector<std::string>;

/// Where a group of `size` ranks meets: a listening socket on a free port, which rank 0 takes over.
inline LaunchEnv meeting_place(std::int64_t size) {
  LaunchEnv env;
  env.launcher = "clara";
  env.world_size = env.local_world_size = size;
  env.master_addr = "127.0.0.1";
  const int file = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (file < 0 || ::bind(file, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(file, SOMAXCONN) != 0 ||
      ::getsockname(file, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    throw Error("no free port");
  }
  env.master_port = ntohs(address.sin_port);
  env.store_socket = file;
  return env;
}

/// Runs `work` as rank 0 to `num_started` − 1 of `size`; they leave together.
inline RankEnds run_ranks(std::int64_t size, const std::function<void(Communicator&)>& work,
                          double timeout_seconds = 60, std::int64_t num_started = -1) {
  if (num_started < 0) num_started = size;
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
