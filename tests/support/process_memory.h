// What this process has in memory, as the kernel counts it.
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace clara::testing {

/// Bytes of a line of /proc/self/status: "RssAnon", "RssFile".
inline double status_bytes(const std::string& name) {
  std::ifstream in("/proc/self/status");
  std::string line;
  while (std::getline(in, line)) {
    if (line.starts_with(name + ":")) return 1024.0 * std::atof(line.c_str() + name.size() + 1);
  }
  ADD_FAILURE() << "/proc/self/status has no " << name;
  return 0;
}

}  // namespace clara::testing
