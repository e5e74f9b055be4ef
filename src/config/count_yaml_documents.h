// How many YAML documents a text holds.
#pragma once

#include <string>

namespace clara {

enum class YamlCount { kNone, kOne, kSeveral };

/// Documents of `text`, separated by --- or ended by an ellipsis. Throws YAML::Exception where it
/// is no YAML. yaml-cpp 0.7 itself reads a text with a stray comma or bracket as documents without
/// end.
YamlCount count_yaml_documents(const std::string& text);

}  // namespace clara
