// Where a group of this machine's processes meets.
#pragma once

#include <cstdint>

namespace clara {

struct StoreSocket {
  int file = -1;  ///< the caller's to close, or rank 0's to take over (LaunchEnv::store_socket)
  std::uint16_t port = 0;
};

/// A listening socket on a free port of the loopback interface. It is opened before the port is
/// told to anybody: no other program can take it in between. Throws DistributedError.
StoreSocket open_store_socket();

}  // namespace clara
