// How much each token counts in the warm-up term, from the documents of training.
#pragma once

#include <string>
#include <vector>

#include "trainer/job_inputs.h"

#include "clara/config/run_config.h"
#include "clara/model/clara_model.h"

namespace clara {

/// As LatentTokenTargets::token_weights; of rows spread over all of them. Bad rows are left out:
/// training stops at them, or lists them, when it meets them.
std::vector<float> latent_token_weights(const RunConfig& config, const ClaraModel& model,
                                        const JobInputs& inputs);

/// By which ranks compare them.
std::string fingerprint_of_weights(const std::vector<float>& weights);

}  // namespace clara
