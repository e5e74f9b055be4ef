// One YAML document from a text.
#pragma once

#include <string>

#include <yaml-cpp/yaml.h>

namespace clara {

enum class YamlCount { kNone, kOne, kSeveral };

/// How many documents the text holds. Throws YAML::Exception where it is no YAML. yaml-cpp 0.7
/// itself reads a text with a stray comma or bracket as documents without end.
YamlCount count_yaml_documents(const std::string& text);

}  // namespace clara
