// Names of the config's enumerations; the same words stand in the files.
#include "clara/config/run_config.h"

#include "config/field_table.h"

namespace clara {

std::string to_string(Stage stage) { return choice_names(stage)[static_cast<std::size_t>(stage)]; }
std::string to_string(Dtype dtype) { return choice_names(dtype)[static_cast<std::size_t>(dtype)]; }
std::string to_string(Device device) {
  return choice_names(device)[static_cast<std::size_t>(device)];
}

}  // namespace clara
