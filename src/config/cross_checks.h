// Checks that concern more than one field, and required fields that were left out.
#pragma once

#include "config/config_reader.h"

#include "clara/config/run_config.h"

namespace clara {

/// Reports to `reader` what is missing and what does not fit together in `config`. Fields that are
/// already known to be wrong are left out, so that one mistake gives one line.
void check_run_config(const RunConfig& config, ConfigReader& reader);

}  // namespace clara
