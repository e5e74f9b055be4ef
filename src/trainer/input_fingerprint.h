// The files that a run reads, as texts that differ where the files do.
#pragma once

#include <map>
#include <string>

#include "clara/config/run_config.h"
#include "clara/data/row_source.h"

namespace clara {

/// Identity of the base model's files and of the record files, by what they are: "file of
/// data.train.0", "file of data.validation.0", "file of model.base/config.json", …. Records count
/// with every byte up to the last row used; of weights size, header and samples. `validation` may
/// be null. Throws DataError.
std::map<std::string, std::string> fingerprint_inputs(const RunConfig& config,
                                                      const RowSource& train,
                                                      const RowSource* validation);

}  // namespace clara
