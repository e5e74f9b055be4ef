// The files of a comparison (interface.md "Comparisons"). Needs no LibTorch.
#pragma once

#include <filesystem>
#include <vector>

#include "clara/eval/comparison.h"
#include "clara/metrics/answer_metrics.h"

namespace clara {

/// Makes the folder if it is missing. Throws CheckpointError where it cannot be made or written.
void prepare_comparison_folder(const std::filesystem::path& folder);

/// Writes report.txt (120 columns), report.md, report.csv, report.html and plots/*.svg, each whole
/// or not at all; what is there is replaced, and plots of an earlier comparison are removed.
/// Returns the paths.
std::vector<std::filesystem::path> write_comparison(const std::filesystem::path& folder,
                                                    const Comparison& comparison,
                                                    GoldProtocol protocol);

}  // namespace clara
