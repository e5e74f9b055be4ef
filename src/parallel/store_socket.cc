// bind to port 0, then ask which it became.
#include "clara/parallel/store_socket.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clara/common/error.h"

namespace clara {

StoreSocket open_store_socket() {
  const int file = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (file < 0 || ::bind(file, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(file, SOMAXCONN) != 0 ||
      ::getsockname(file, reinterpret_cast<sockaddr*>(&address), &length) != 0) {
    const std::string reason = std::strerror(errno);
    if (file >= 0) ::close(file);
    throw DistributedError("no port of this machine could be opened for the ranks to meet at: " +
                           reason);
  }
  return {file, ntohs(address.sin_port)};
}

}  // namespace clara
