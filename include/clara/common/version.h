// The library's version.
#pragma once

namespace clara {

inline constexpr const char* kVersion = "0.1.0";

}  // namespace clara
