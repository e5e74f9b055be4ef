// A comparison as one HTML page that needs nothing else: tables, charts, a browser of the examples.
// Needs no LibTorch.
#pragma once

#include <string>
#include <vector>

#include "clara/eval/comparison.h"
#include "clara/eval/comparison_charts.h"
#include "clara/metrics/answer_metrics.h"

namespace clara {

/// The page. It loads nothing from anywhere, and its content policy forbids it to; texts of
/// documents, questions and answers stand in it as data and are shown as text, never as markup.
/// `protocol`: what it shows first; the reader can change it.
std::string render_comparison_page(const Comparison& comparison,
                                   const std::vector<RenderedChart>& charts, GoldProtocol protocol);

/// JSON that may stand in a <script> element: no "<", ">" or "&" in it, so that no text can end the
/// element.
std::string escape_json_for_page(const std::string& json);

}  // namespace clara
