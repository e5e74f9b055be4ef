// The errors of the library. A message says what was expected, what was found, where, and what to
// try; only the programs in tools/ turn them into exit codes.
#pragma once

#include <stdexcept>
#include <string>

namespace clara {

/// Base of every error this library throws on purpose.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A wrong command line or config. Exit code 2.
class ConfigError : public Error {
 public:
  using Error::Error;
};

/// A missing, unreadable or wrong input: records, base model, tokenizer. Exit code 3.
class DataError : public Error {
 public:
  using Error::Error;
};

/// A missing, torn or unfitting checkpoint, or one that cannot be written. Exit code 3.
class CheckpointError : public Error {
 public:
  using Error::Error;
};

/// A failure of the process group or of a peer. Exit code 4.
class DistributedError : public Error {
 public:
  using Error::Error;
};

/// A loss, gradient, logit or vector that is not finite. Exit code 5.
class NonFiniteError : public Error {
 public:
  using Error::Error;
};

}  // namespace clara
