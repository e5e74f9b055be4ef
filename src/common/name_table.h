// Enums and the names that users give them.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "clara/common/error.h"

namespace clara {

template <typename Enum, std::size_t N>
using NameTable = std::array<std::pair<Enum, const char*>, N>;

template <typename Table>
auto parse_name(const Table& table, std::string_view what, std::string_view name) {
  std::string names;
  for (const auto& [value, known] : table) {
    if (name == known) return value;
    names += (names.empty() ? "" : ", ") + std::string(known);
  }
  throw ConfigError(std::string(what) + ": expected one of " + names + ", found \"" +
                    std::string(name) + "\"");
}

template <typename Table, typename Enum>
std::string name_of(const Table& table, Enum value) {
  for (const auto& [known, name] : table) {
    if (known == value) return name;
  }
  throw Error("a value without a name");
}

template <typename Table>
std::vector<std::string> names_of(const Table& table) {
  std::vector<std::string> names;
  for (const auto& entry : table) names.emplace_back(entry.second);
  return names;
}

}  // namespace clara
