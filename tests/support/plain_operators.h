// Whether this process goes the way of other devices (CLARA_PLAIN_OPERATORS, cpu::take).
#pragma once

#include <cstdlib>

namespace clara::testing {

inline bool plain_operators() {
  const char* set = std::getenv("CLARA_PLAIN_OPERATORS");
  return set != nullptr && *set != '\0';
}

}  // namespace clara::testing
