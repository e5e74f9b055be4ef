// What a stage reads besides the weights.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clara/checkpoint/open_model.h"
#include "clara/config/run_config.h"
#include "clara/data/example.h"
#include "clara/data/prompts.h"
#include "clara/trainer/training_data.h"

namespace clara {

/// Text side, rows and prompts: all that can be checked without weights.
struct JobInputs {
  TextSide text;
  std::unique_ptr<PromptBuilder> prompts;
  std::unique_ptr<RecordTrainingData> data;
  std::vector<Example> validation;
  std::vector<std::string> skipped_validation;
  std::map<std::string, std::string> fingerprints;  ///< of the files
};

/// Opens and checks them. `look_only`: bad rows are for the caller to find and count, instead of
/// ending it here. Throws ConfigError, DataError.
JobInputs open_inputs(const RunConfig& config, bool look_only = false);

}  // namespace clara
