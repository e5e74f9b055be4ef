// Geometry and markup of a chart.
#include "eval/line_chart.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string_view>

#include "eval/text_table.h"

namespace clara {
namespace {

constexpr double kWidth = 560, kPlotHeight = 230;
constexpr double kLeft = 56, kRight = 16;
constexpr double kTitleLine = 20, kLegendLine = 18, kAxisLines = 44;
constexpr double kCharacterWidth = 6.6;  // of the legend's text, on average
constexpr std::size_t kNumColours = 8;

constexpr const char* kFileStyle =
    "<style>"
    ".chart{background:#fff;font-family:system-ui,'Liberation Sans',Arial,sans-serif}"
    ".chart text{fill:#3c4148;font-size:12px}.chart .chart-title{fill:#16191d;font-size:14px;"
    "font-weight:600}"
    ".chart-grid{stroke:#e3e5e8}.chart-axis{stroke:#868c94}"
    ".chart-line{fill:none;stroke:currentColor;stroke-width:2;stroke-linejoin:round}"
    ".chart-whisker{stroke:currentColor;stroke-width:1.4;opacity:.65}"
    ".chart-dot{fill:currentColor;stroke:#fff;stroke-width:1.2}"
    ".series-0{color:#2563a8}.series-1{color:#c4551d}.series-2{color:#23794b}"
    ".series-3{color:#8a4fae}.series-4{color:#8f6a1f}.series-5{color:#2b8190}"
    ".series-6{color:#b8365b}.series-7{color:#5f6670}"
    "</style>";

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.2f", value);
  std::string shown = text.data();
  shown.erase(shown.find_last_not_of('0') + 1);
  if (shown.back() == '.') shown.pop_back();
  return shown == "-0" ? "0" : shown;
}

std::string tick_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.6g", value);
  return std::string_view(text.data()) == "-0" ? "0" : text.data();
}

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  double length() const { return high - low; }
};

/// Round numbers about `count` of which cover the range.
std::vector<double> round_ticks(const Range& range, int count) {
  const double rough = range.length() / count;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10 * power;
  for (const double factor : {5.0, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  std::vector<double> ticks;
  for (double i = std::ceil(range.low / step - 1e-9); i * step <= range.high + 1e-9 * step; ++i)
    ticks.push_back(i * step);
  return ticks;
}

class ChartWriter {
 public:
  ChartWriter(const LineChart& chart, ChartUse use) : chart_(chart), use_(use) {
    for (const ChartSeries& series : chart.series) {
      for (const ChartPoint& point : series.points) {
        if (!series.is_reference) x_.add(point.x);
        y_.add(point.y);
        if (point.interval) {
          y_.add(point.interval->first);
          y_.add(point.interval->second);
        }
      }
    }
    for (const auto& tick : chart.x_ticks) x_.add(tick.first);
    if (chart.y_range) y_ = {chart.y_range->first, chart.y_range->second};
    for (Range* range : {&x_, &y_}) {
      if (!(range->length() > 0)) {  // one value, or none
        const double middle = std::isfinite(range->low) ? range->low : 0;
        *range = {middle - 0.5, middle + 0.5};
      }
    }
    if (!chart.y_range) {
      const double margin = 0.05 * y_.length();
      y_ = {y_.low - margin, y_.high + margin};
    }
  }

  std::string write() {
    place_legend();
    top_ = kTitleLine + 8 + kLegendLine * num_legend_lines_ + 8;
    const double height = top_ + kPlotHeight + kAxisLines;
    const std::string size = number(kWidth) + " " + number(height);
    text_ =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" role=\"img\" viewBox=\"0 0 " +
        size + "\" width=\"" + number(kWidth) + "\" height=\"" + number(height) +
        "\" aria-label=\"" + escape_markup(chart_.title) + "\">";
    if (use_ == ChartUse::kFile) {
      text_ += kFileStyle;
      text_ += "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>";
    }
    label(0, 15, chart_.title, "start", "chart-title");
    text_ += legend_;
    write_axes();
    for (std::size_t s = 0; s < chart_.series.size(); ++s) write_series(s);
    return text_ + "</svg>\n";
  }

 private:
  double to_x(double value) const {
    const double inner = kWidth - kLeft - kRight - 2 * kInset;
    return kLeft + kInset + inner * (value - x_.low) / x_.length();
  }
  double to_y(double value) const {
    return top_ + kPlotHeight * (y_.high - std::clamp(value, y_.low, y_.high)) / y_.length();
  }

  void label(double x, double y, const std::string& text, const char* anchor,
             const char* kind = "") {
    text_ += label_markup(x, y, text, anchor, kind);
  }

  static std::string label_markup(double x, double y, const std::string& text, const char* anchor,
                                  const char* kind) {
    return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\"" +
           (*kind != '\0' ? std::string(" class=\"") + kind + "\"" : "") + ">" +
           escape_markup(text) + "</text>";
  }

  static std::string line_markup(double x1, double y1, double x2, double y2,
                                 const std::string& attributes) {
    return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
           "\" y2=\"" + number(y2) + "\" " + attributes + "/>";
  }

  std::string dashes_of(std::size_t s) const {
    if (chart_.series[s].is_reference) return " stroke-dasharray=\"6 4\"";
    constexpr std::array kDashes = {"", " stroke-dasharray=\"8 3 2 3\"",
                                    " stroke-dasharray=\"2 3\""};
    return kDashes[std::min(s / kNumColours, kDashes.size() - 1)];
  }

  /// Names side by side, in as many lines as they need; names that are too long are cut.
  void place_legend() {
    if (chart_.series.size() < 2 && !(chart_.series.size() == 1 && !chart_.series[0].name.empty()))
      return;
    double x = 0;
    num_legend_lines_ = 1;
    for (std::size_t s = 0; s < chart_.series.size(); ++s) {
      const std::string name = fit_columns(chart_.series[s].name, 64);
      const double width = 26 + kCharacterWidth * static_cast<double>(display_columns(name)) + 16;
      if (x > 0 && x + width > kWidth) {
        x = 0;
        ++num_legend_lines_;
      }
      const double y = kTitleLine + 8 + kLegendLine * (num_legend_lines_ - 1) + 8;
      legend_ += "<g class=\"" + series_class(s) + "\">" +
                 line_markup(x, y - 4, x + 20, y - 4, "class=\"chart-line\"" + dashes_of(s)) +
                 label_markup(x + 26, y, name, "start", "") + "</g>";
      x += width;
    }
  }

  static std::string series_class(std::size_t s) {
    return "series-" + std::to_string(s % kNumColours);
  }

  void write_axes() {
    const double bottom = top_ + kPlotHeight;
    for (const double tick : round_ticks(y_, 5)) {
      text_ += line_markup(kLeft, to_y(tick), kWidth - kRight, to_y(tick), "class=\"chart-grid\"");
      label(kLeft - 8, to_y(tick) + 4, tick_text(tick), "end");
    }
    text_ += line_markup(kLeft, bottom, kWidth - kRight, bottom, "class=\"chart-axis\"");
    std::vector<std::pair<double, std::string>> ticks = chart_.x_ticks;
    if (ticks.empty()) {
      for (const double tick : round_ticks(x_, 6)) ticks.emplace_back(tick, tick_text(tick));
    }
    for (const auto& [x, name] : ticks) {
      text_ += line_markup(to_x(x), bottom, to_x(x), bottom + 4, "class=\"chart-axis\"");
      label(to_x(x), bottom + 18, name, "middle");
    }
    label((kLeft + kWidth - kRight) / 2, bottom + 37, chart_.x_label, "middle");
    const double middle = top_ + kPlotHeight / 2;
    text_ += "<text transform=\"translate(13 " + number(middle) +
             ") rotate(-90)\" text-anchor=\"middle\">" + escape_markup(chart_.y_label) + "</text>";
  }

  void write_series(std::size_t s) {
    const ChartSeries& series = chart_.series[s];
    if (series.points.empty()) return;
    text_ +=
        "<g class=\"" + series_class(s) + "\"><title>" + escape_markup(series.name) + "</title>";
    if (series.is_reference) {
      const ChartPoint& point = series.points.front();
      text_ += line_markup(kLeft, to_y(point.y), kWidth - kRight, to_y(point.y),
                           "class=\"chart-line\"" + dashes_of(s)) +
               "<title>" + escape_markup(point.label) + "</title></g>";
      return;
    }
    // Whiskers of several series at one place stand beside each other.
    const bool has_whiskers = series.points.front().interval.has_value();
    const double shift =
        has_whiskers
            ? (static_cast<double>(s) - static_cast<double>(chart_.series.size() - 1) / 2) *
                  std::min(6.0, 30.0 / static_cast<double>(chart_.series.size()))
            : 0;
    text_ += "<polyline class=\"chart-line\"" + dashes_of(s) + " points=\"";
    for (const ChartPoint& point : series.points)
      text_ += number(to_x(point.x) + shift) + "," + number(to_y(point.y)) + " ";
    text_ += "\"/>";
    for (const ChartPoint& point : series.points) {
      const double x = to_x(point.x) + shift;
      if (point.interval) {
        text_ += line_markup(x, to_y(point.interval->first), x, to_y(point.interval->second),
                             "class=\"chart-whisker\"");
      }
      if (point.label.empty()) continue;
      text_ += "<circle class=\"chart-dot\" cx=\"" + number(x) + "\" cy=\"" +
               number(to_y(point.y)) + "\" r=\"4\"><title>" + escape_markup(point.label) +
               "</title></circle>";
    }
    text_ += "</g>";
  }

  static constexpr double kInset = 24;  // between the axis and the outermost points

  const LineChart& chart_;
  ChartUse use_;
  Range x_, y_;
  double top_ = 0;
  int num_legend_lines_ = 0;
  std::string legend_;
  std::string text_;
};

}  // namespace

std::string escape_markup(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&#39;";
        break;
      case '\t':
      case '\n':
      case '\r':
        escaped += ' ';
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          escaped += "\xEF\xBF\xBD";
        } else {
          escaped += c;
        }
    }
  }
  return escaped;
}

std::string render_svg(const LineChart& chart, ChartUse use) {
  return ChartWriter(chart, use).write();
}

}  // namespace clara
