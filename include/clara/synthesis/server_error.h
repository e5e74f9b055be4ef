// The error of a chat server that cannot be used.
#pragma once

#include "clara/common/error.h"

namespace clara {

/// The server that the program was told to use refuses it or does not answer. Exit code 6.
class ServerError : public Error {
 public:
  using Error::Error;
};

}  // namespace clara
