// Line charts with intervals as SVG, for a page or as a file of their own. Needs no LibTorch.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace clara {

struct ChartPoint {
  double x = 0;
  double y = 0;
  std::optional<std::pair<double, double>> interval;  ///< drawn as a whisker
  std::string label;  ///< shown when the pointer rests on the point; empty: no dot
};

struct ChartSeries {
  std::string name;
  std::vector<ChartPoint> points;
  bool is_reference = false;  ///< a dashed line across the chart at the first point's y
};

struct LineChart {
  std::string name;  ///< of its file, without ending: letters, digits and underscores
  std::string title;
  std::string x_label;
  std::string y_label;
  std::vector<std::pair<double, std::string>> x_ticks;  ///< empty: round numbers
  std::optional<std::pair<double, double>> y_range;     ///< none: from the points
  std::vector<ChartSeries> series;
};

enum class ChartUse {
  kPage,  ///< colours come from the page's style sheet (classes chart-…, series-0 to series-7)
  kFile,  ///< with a style sheet of its own, on white
};

/// All text is escaped. Series differ in colour, and after eight of them in dashes.
std::string render_svg(const LineChart& chart, ChartUse use);

/// `text` where HTML or XML expects text or a quoted attribute. Control characters that XML
/// forbids become U+FFFD.
std::string escape_markup(const std::string& text);

}  // namespace clara
