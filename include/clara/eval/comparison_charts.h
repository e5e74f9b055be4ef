// The charts of a comparison as SVG: recall@k, F1 by compression rate, training curves. Needs no
// LibTorch.
#pragma once

#include <string>
#include <vector>

#include "clara/eval/comparison.h"
#include "clara/metrics/answer_metrics.h"

namespace clara {

struct RenderedChart {
  std::string name;      ///< of its file, without ending: "recall_hotpotqa_normal"
  std::string for_page;  ///< SVG whose colours come from the page
  std::string for_file;  ///< SVG with a style sheet of its own
};

/// Of each benchmark and setting: recall at 1, 3, 5 of the methods that ranked candidates, with
/// intervals; F1 by compression rate where methods that read latents have two rates or more, a line
/// for each stage, selector and number of documents, methods that read text or nothing as levels.
/// Then training loss, validation loss and validation recall of the runs. What has no data is left
/// out.
std::vector<RenderedChart> render_charts(const Comparison& comparison, GoldProtocol protocol);

}  // namespace clara
