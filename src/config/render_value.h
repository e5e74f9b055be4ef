// The value of a field as one line of YAML.
#pragma once

#include <string>

#include "config/field_table.h"

#include "clara/config/run_config.h"

namespace clara {

/// The value of `field` in `config` as flow YAML: 0.1, auto, [a, b], {metric: m, mode: max}, "".
std::string value_text(const Field<RunConfig>& field, const RunConfig& config);
std::string value_text(const Field<DataSource>& field, const DataSource& source);
std::string value_text(const Field<KeepBestConfig>& field, const KeepBestConfig& keep_best);

}  // namespace clara
