// Parsing, running, and turning errors into messages and exit codes (architecture.md, convention
// 4), for every program.
#pragma once

#include <exception>
#include <functional>
#include <iostream>
#include <new>
#include <string>

#include <CLI/CLI.hpp>

#include "clara/common/error.h"
#include "clara/synthesis/server_error.h"

namespace clara::tools {

inline constexpr int kExitOk = 0;
inline constexpr int kExitUsage = 2;
inline constexpr int kExitData = 3;
inline constexpr int kExitDistributed = 4;
inline constexpr int kExitNonFinite = 5;
inline constexpr int kExitServer = 6;

/// "error: " before every line of a message that is not indented.
inline void print_error(const std::string& message) {
  std::size_t begin = 0;
  while (begin <= message.size()) {
    const std::size_t end = std::min(message.find('\n', begin), message.size());
    const std::string line = message.substr(begin, end - begin);
    std::cerr << (line.starts_with(' ') ? "" : "error: ") << line << "\n";
    begin = end + 1;
  }
}

inline int exit_code_of(const std::exception& error) {
  if (dynamic_cast<const ConfigError*>(&error) != nullptr) return kExitUsage;
  if (dynamic_cast<const DataError*>(&error) != nullptr ||
      dynamic_cast<const CheckpointError*>(&error) != nullptr ||
      dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return kExitData;
  }
  if (dynamic_cast<const DistributedError*>(&error) != nullptr) return kExitDistributed;
  if (dynamic_cast<const NonFiniteError*>(&error) != nullptr) return kExitNonFinite;
  if (dynamic_cast<const ServerError*>(&error) != nullptr) return kExitServer;
  return 1;
}

inline std::string error_text(const std::exception& error) {
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return "out of memory; lower trainer.max_tokens_per_micro_batch or set "
           "trainer.activation_checkpointing";
  }
  return (exit_code_of(error) == 1 ? "internal: " : "") + std::string(error.what());
}

/// Parses the command line and calls `run`; its result is the exit code. Help and version go to
/// stdout, errors to stderr.
inline int run_main(CLI::App& app, int argc, char** argv, const std::function<int()>& run) {
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return app.exit(error, std::cout, std::cerr);
    print_error(std::string(error.what()) + " (see --help)");
    return kExitUsage;
  }
  try {
    return run();
  } catch (const std::exception& error) {
    print_error(error_text(error));
    return exit_code_of(error);
  }
}

}  // namespace clara::tools
