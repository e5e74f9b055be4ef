// Which numbers of a comparison go into which chart.
#include "clara/eval/comparison_charts.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "eval/line_chart.h"

namespace clara {
namespace {

constexpr std::size_t kFirstRecallMetric = 6;
constexpr std::size_t kMaxCurvePoints = 240;
constexpr std::size_t kMaxDottedPoints = 30;

std::string percent(double fraction) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", 100 * fraction);
  return text.data();
}

std::string place_title(const ComparisonBlock& block) {
  return block.benchmark + ", " + (block.setting == EvalSetting::kNormal ? "Normal" : "Oracle");
}

/// Letters, digits and underscores; everything else becomes one.
std::string file_name(const std::string& text) {
  std::string name;
  for (const char c : text) {
    const bool is_plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    name += is_plain ? c : '_';
  }
  return name;
}

ChartPoint make_point(double x, const MetricEstimate& estimate, const std::string& what) {
  ChartPoint point{x, 100 * estimate.value.mean, std::nullopt,
                   what + ": " + percent(estimate.value.mean)};
  if (estimate.has_interval) {
    point.interval = {100 * estimate.value.low, 100 * estimate.value.high};
    point.label += " [" + percent(estimate.value.low) + ", " + percent(estimate.value.high) + "]";
  }
  return point;
}

LineChart recall_chart(const Comparison& comparison, const ComparisonBlock& block) {
  LineChart chart;
  chart.name = "recall_" + file_name(block.benchmark) + "_" + to_string(block.setting);
  chart.title = "Recall@k · " + place_title(block);
  chart.x_label = "first k candidates";
  chart.y_label = "recall, percent";
  chart.y_range = {0, 100};
  for (const std::int32_t k : RetrievalSummary::kCutoffs)
    chart.x_ticks.emplace_back(k, std::to_string(k));
  for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
    const MetricEstimates& estimates = block.estimates[m];
    if (estimates[kFirstRecallMetric].num_questions == 0) continue;
    ChartSeries series{comparison.methods[m], {}, false};
    for (std::size_t i = 0; i < RetrievalSummary::kCutoffs.size(); ++i) {
      const std::int32_t k = RetrievalSummary::kCutoffs[i];
      series.points.push_back(make_point(k, estimates[kFirstRecallMetric + i],
                                         comparison.methods[m] + ", recall@" + std::to_string(k)));
    }
    chart.series.push_back(std::move(series));
  }
  return chart;
}

LineChart rate_chart(const Comparison& comparison, const ComparisonBlock& block,
                     std::size_t f1_metric) {
  LineChart chart;
  chart.name = "f1_by_rate_" + file_name(block.benchmark) + "_" + to_string(block.setting);
  chart.title = "F1 by compression rate · " + place_title(block);
  chart.x_label = "compression rate (tokens a latent)";
  chart.y_label = "F1, percent";
  std::map<std::string, ChartSeries> lines;
  std::vector<ChartSeries> levels;
  std::set<std::int32_t> rates;
  for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
    if (block.results[m] == nullptr) continue;
    const EvalResult& result = block.results[m]->result;
    const MetricEstimate& estimate = block.estimates[m][f1_metric];
    if (result.settings.context != AnswerContext::kLatents) {
      levels.push_back(
          {comparison.methods[m], {make_point(0, estimate, comparison.methods[m])}, true});
      continue;
    }
    const std::int32_t rate = result.origin.compression_rate;
    if (rate < 1) continue;
    rates.insert(rate);
    std::string select = to_string(result.settings.select);
    std::replace(select.begin(), select.end(), '_', ' ');
    if (!result.settings.encoder.empty()) select += " (" + result.settings.encoder + ")";
    const std::string kind = result.origin.stage + ", " + select + ", " +
                             std::to_string(result.settings.num_selected) + " documents";
    ChartSeries& line = lines[kind];
    line.name = kind;
    line.points.push_back(make_point(std::log2(rate), estimate,
                                     comparison.methods[m] + ", rate " + std::to_string(rate)));
  }
  if (rates.size() < 2) return chart;
  for (auto& [kind, line] : lines) {
    std::stable_sort(line.points.begin(), line.points.end(),
                     [](const ChartPoint& a, const ChartPoint& b) { return a.x < b.x; });
    chart.series.push_back(std::move(line));
  }
  chart.series.insert(chart.series.end(), levels.begin(), levels.end());
  for (const std::int32_t rate : rates)
    chart.x_ticks.emplace_back(std::log2(rate), std::to_string(rate) + "×");
  return chart;
}

/// Means of neighbours, so that a long run draws in few points.
ChartSeries curve(const std::string& name, const TrainingCurves::Series& values, double scale) {
  ChartSeries series{name, {}, false};
  const std::size_t group = (values.size() + kMaxCurvePoints - 1) / kMaxCurvePoints;
  for (std::size_t begin = 0; begin < values.size(); begin += group) {
    const std::size_t end = std::min(values.size(), begin + group);
    double step = 0, sum = 0;
    for (std::size_t i = begin; i < end; ++i) {
      step += values[i].first;
      sum += values[i].second;
    }
    const auto count = static_cast<double>(end - begin);
    ChartPoint point{step / count, scale * sum / count, std::nullopt, ""};
    if (values.size() <= kMaxDottedPoints) {
      std::array<char, 80> text{};
      std::snprintf(text.data(), text.size(), ", step %.0f: %.4g", point.x, point.y);
      point.label = name + text.data();
    }
    series.points.push_back(std::move(point));
  }
  return series;
}

std::vector<LineChart> training_charts(const std::vector<TrainingCurves>& runs) {
  LineChart loss, validation, recall;
  loss.name = "training_loss";
  loss.title = "Training loss";
  validation.name = "validation_loss";
  validation.title = "Validation loss";
  loss.y_label = validation.y_label = "nats a token";
  recall.name = "validation_recall";
  recall.title = "Validation recall@k";
  recall.y_label = "recall, percent";
  recall.y_range = {0, 100};
  loss.x_label = validation.x_label = recall.x_label = "step";
  for (const TrainingCurves& run : runs) {
    if (!run.loss.empty()) loss.series.push_back(curve(run.run, run.loss, 1));
    if (!run.validation_loss.empty())
      validation.series.push_back(curve(run.run, run.validation_loss, 1));
    for (std::size_t i = 0; i < run.validation_recall.size(); ++i) {
      if (run.validation_recall[i].empty()) continue;
      const std::string name = run.run + " @" + std::to_string(RetrievalSummary::kCutoffs[i]);
      recall.series.push_back(curve(name, run.validation_recall[i], 100));
    }
  }
  return {loss, validation, recall};
}

}  // namespace

std::vector<RenderedChart> render_charts(const Comparison& comparison, GoldProtocol protocol) {
  const std::size_t f1_metric = protocol == GoldProtocol::kFirst ? 1 : 4;
  std::vector<LineChart> charts;
  for (const ComparisonBlock& block : comparison.blocks)
    charts.push_back(recall_chart(comparison, block));
  for (const ComparisonBlock& block : comparison.blocks)
    charts.push_back(rate_chart(comparison, block, f1_metric));
  for (LineChart& chart : training_charts(comparison.source.curves))
    charts.push_back(std::move(chart));
  std::vector<RenderedChart> rendered;
  for (const LineChart& chart : charts) {
    if (chart.series.empty()) continue;
    rendered.push_back(
        {chart.name, render_svg(chart, ChartUse::kPage), render_svg(chart, ChartUse::kFile)});
  }
  return rendered;
}

}  // namespace clara
