// Columns packed into tables that fit; Markdown; tidy CSV.
#include "clara/eval/comparison_tables.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>
#include <vector>

#include "eval/text_table.h"

namespace clara {
namespace {

constexpr std::size_t kGap = 2;  // blanks between columns
constexpr double kSignificance = 0.05;

std::string decimals(double value, int digits) {
  std::array<char, 48> text{};
  std::snprintf(text.data(), text.size(), "%.*f", digits, value);
  return text.data();
}

std::string percent(double fraction, int digits) { return decimals(100 * fraction, digits); }

std::string signed_percent(double fraction, int digits) {
  const std::string text = percent(fraction, digits);
  return text.front() == '-' ? text : "+" + text;
}

/// "p 0.012"; three decimals, and a bound below them.
std::string p_text(double p) { return p < 0.001 ? "p <0.001" : "p " + decimals(p, 3); }

std::string setting_title(EvalSetting setting) {
  return setting == EvalSetting::kNormal ? "Normal" : "Oracle";
}

bool has_tests(const Comparison& comparison) { return !comparison.settings.baseline.empty(); }

bool is_significant(const MetricEstimate& estimate) {
  return estimate.against_baseline &&
         estimate.against_baseline->permutation_p_value < kSignificance;
}

/// Metrics of a protocol that some method has: answers, then retrieval.
std::vector<std::size_t> metrics_of(const ComparisonBlock& block, GoldProtocol protocol,
                                    bool of_retrieval) {
  const std::string wanted =
      of_retrieval ? "" : (protocol == GoldProtocol::kFirst ? "first" : "best");
  std::vector<std::size_t> metrics;
  for (std::size_t i = 0; i < kReportMetrics.size(); ++i) {
    if (kReportMetrics[i].protocol != wanted) continue;
    const bool exists =
        std::any_of(block.estimates.begin(), block.estimates.end(),
                    [&](const MetricEstimates& of) { return of[i].num_questions > 0; });
    if (exists) metrics.push_back(i);
  }
  return metrics;
}

/// Columns that stay together, under one title.
struct ColumnGroup {
  std::string benchmark;
  EvalSetting setting = EvalSetting::kNormal;
  std::vector<std::string> titles;                           ///< by column
  std::vector<std::vector<std::vector<std::string>>> cells;  ///< by method, column, line
  std::vector<std::size_t> widths;                           ///< by column
};

/// The lines of a cell: value, interval, p value.
std::vector<std::string> cell_lines(const MetricEstimate& estimate, bool with_mark) {
  if (estimate.num_questions == 0) return {with_mark ? "- " : "-"};
  const std::string mark = !with_mark ? "" : is_significant(estimate) ? "*" : " ";
  std::vector<std::string> lines = {percent(estimate.value.mean, 2) + mark};
  if (estimate.has_interval) {
    lines.push_back(percent(estimate.value.low, 1) + "–" + percent(estimate.value.high, 1));
  }
  if (estimate.against_baseline) {
    lines.push_back(p_text(estimate.against_baseline->permutation_p_value));
  }
  return lines;
}

ColumnGroup make_group(const Comparison& comparison, const ComparisonBlock& block,
                       const std::vector<std::size_t>& metrics) {
  ColumnGroup group{block.benchmark, block.setting, {}, {}, {}};
  group.cells.resize(comparison.methods.size());
  for (const std::size_t metric : metrics) {
    group.titles.emplace_back(kReportMetrics[metric].title);
    std::size_t width = display_columns(group.titles.back());
    for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
      group.cells[m].push_back(cell_lines(block.estimates[m][metric], has_tests(comparison)));
      for (const std::string& line : group.cells[m].back())
        width = std::max(width, display_columns(line));
    }
    group.widths.push_back(width);
  }
  return group;
}

std::size_t width_of(const std::vector<ColumnGroup>& groups) {
  std::size_t width = 0;
  for (const ColumnGroup& group : groups) {
    for (const std::size_t column : group.widths) width += kGap + column;
  }
  return width;
}

/// Groups side by side, under titles.
struct Panel {
  std::vector<ColumnGroup> groups;
};

/// Fewest panels that fit: everything, a benchmark, a setting, a group.
std::vector<Panel> pack_panels(const Comparison& comparison, GoldProtocol protocol,
                               std::size_t columns_left) {
  std::vector<std::vector<ColumnGroup>> settings;  // by block
  for (const ComparisonBlock& block : comparison.blocks) {
    settings.emplace_back();
    for (const bool of_retrieval : {false, true}) {
      const auto metrics = metrics_of(block, protocol, of_retrieval);
      if (!metrics.empty()) settings.back().push_back(make_group(comparison, block, metrics));
    }
  }
  std::vector<ColumnGroup> everything;
  for (const auto& groups : settings)
    everything.insert(everything.end(), groups.begin(), groups.end());
  if (width_of(everything) <= columns_left) return {{everything}};

  std::vector<Panel> panels;
  const auto add_if_it_fits = [&](const std::vector<ColumnGroup>& groups) {
    if (panels.empty() || panels.back().groups.front().benchmark != groups.front().benchmark)
      return false;
    std::vector<ColumnGroup> together = panels.back().groups;
    together.insert(together.end(), groups.begin(), groups.end());
    if (width_of(together) > columns_left) return false;
    panels.back().groups = std::move(together);
    return true;
  };
  for (const auto& groups : settings) {
    if (add_if_it_fits(groups)) continue;
    if (width_of(groups) <= columns_left) {
      panels.push_back({groups});
      continue;
    }
    for (const ColumnGroup& group : groups) panels.push_back({{group}});
  }
  return panels;
}

/// A method's name over the lines that its cells take.
std::vector<std::string> name_lines(const std::string& name, std::size_t width,
                                    std::size_t max_lines) {
  std::vector<std::string> lines = wrap_words(name, width);
  for (std::size_t i = max_lines; i < lines.size(); ++i) lines[max_lines - 1] += " " + lines[i];
  if (lines.size() > max_lines) lines.resize(max_lines);
  for (std::string& line : lines) line = fit_columns(line, width);
  return lines;
}

void strip_right(std::string& line) { line.erase(line.find_last_not_of(' ') + 1); }

std::string render_panel(const Comparison& comparison, const Panel& panel, std::size_t name_width) {
  // Groups of one benchmark and setting share a title.
  std::string titles = pad_right("", name_width), headers = pad_right("method", name_width);
  std::string rule(name_width, '-');
  const bool is_of_one_benchmark = std::all_of(
      panel.groups.begin(), panel.groups.end(),
      [&](const ColumnGroup& group) { return group.benchmark == panel.groups.front().benchmark; });
  for (std::size_t g = 0; g < panel.groups.size();) {
    std::size_t end = g, width = 0;
    const ColumnGroup& first = panel.groups[g];
    while (end < panel.groups.size() && panel.groups[end].benchmark == first.benchmark &&
           panel.groups[end].setting == first.setting) {
      width += width_of({panel.groups[end]});
      ++end;
    }
    const std::string title =
        (is_of_one_benchmark ? "" : first.benchmark + ", ") + setting_title(first.setting);
    titles += std::string(kGap, ' ') + pad_right(fit_columns(title, width - kGap), width - kGap);
    rule += std::string(kGap, ' ') + std::string(width - kGap, '-');
    g = end;
  }
  for (const ColumnGroup& group : panel.groups) {
    for (std::size_t c = 0; c < group.titles.size(); ++c) {
      // Over the digits: a mark's place stays free.
      const std::string title = group.titles[c] + (has_tests(comparison) ? " " : "");
      headers += std::string(kGap, ' ') + pad_left(title, group.widths[c]);
    }
  }
  for (std::string* line : {&titles, &headers}) strip_right(*line);
  std::string text = is_of_one_benchmark ? panel.groups.front().benchmark + "\n" : "";
  text += titles + "\n" + headers + "\n" + rule + "\n";
  for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
    std::size_t num_lines = 1;
    bool is_here = false;
    for (const ColumnGroup& group : panel.groups) {
      for (const auto& cell : group.cells[m]) {
        num_lines = std::max(num_lines, cell.size());
        is_here = is_here || cell.size() > 1 || cell.front().front() != '-';
      }
    }
    if (!is_here) continue;
    const auto names = name_lines(comparison.methods[m], name_width, num_lines);
    for (std::size_t n = 0; n < num_lines; ++n) {
      std::string line = pad_right(n < names.size() ? names[n] : "", name_width);
      for (const ColumnGroup& group : panel.groups) {
        for (std::size_t c = 0; c < group.cells[m].size(); ++c) {
          const auto& cell = group.cells[m][c];
          line +=
              std::string(kGap, ' ') + pad_left(n < cell.size() ? cell[n] : "", group.widths[c]);
        }
      }
      strip_right(line);
      text += line + "\n";
    }
  }
  return text;
}

std::string markdown_values(const Comparison& comparison, const ComparisonBlock& block,
                            const std::vector<std::size_t>& metrics) {
  std::vector<std::vector<std::string>> rows = {{"method", "questions"}};
  for (const std::size_t metric : metrics) rows[0].emplace_back(kReportMetrics[metric].title);
  for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
    if (block.results[m] == nullptr) continue;
    std::vector<std::string> row = {cell_text(comparison.methods[m], 60),
                                    std::to_string(block.estimates[m][0].num_questions)};
    for (const std::size_t metric : metrics) {
      const MetricEstimate& estimate = block.estimates[m][metric];
      std::string cell = estimate.num_questions > 0 ? percent(estimate.value.mean, 2) : "-";
      if (estimate.has_interval) {
        cell +=
            " [" + percent(estimate.value.low, 1) + ", " + percent(estimate.value.high, 1) + "]";
      }
      row.push_back(cell);
    }
    rows.push_back(std::move(row));
  }
  return render_markdown_table(rows, 1);
}

std::string markdown_differences(const Comparison& comparison, const ComparisonBlock& block,
                                 const std::vector<std::size_t>& metrics) {
  std::vector<std::vector<std::string>> rows = {
      {"difference to " + cell_text(comparison.settings.baseline, 60), "questions"}};
  for (const std::size_t metric : metrics) rows[0].emplace_back(kReportMetrics[metric].title);
  for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
    if (!block.estimates[m][0].against_baseline) continue;
    std::vector<std::string> row = {cell_text(comparison.methods[m], 60),
                                    std::to_string(block.estimates[m][0].num_paired)};
    for (const std::size_t metric : metrics) {
      const auto& paired = block.estimates[m][metric].against_baseline;
      row.push_back(!paired ? "-"
                            : signed_percent(paired->difference.mean, 2) + " [" +
                                  signed_percent(paired->difference.low, 1) + ", " +
                                  signed_percent(paired->difference.high, 1) + "], " +
                                  p_text(paired->permutation_p_value));
    }
    rows.push_back(std::move(row));
  }
  return rows.size() > 1 ? "\n" + render_markdown_table(rows, 1) : "";
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

std::string csv_row(const std::vector<std::string>& fields) {
  std::string row;
  for (std::size_t i = 0; i < fields.size(); ++i) row += (i > 0 ? "," : "") + csv_field(fields[i]);
  return row + "\n";
}

}  // namespace

std::string comparison_legend(const Comparison& comparison, GoldProtocol protocol) {
  const ResamplingSettings& resampling = comparison.settings.resampling;
  const std::string num_resamples = std::to_string(resampling.num_resamples);
  std::string text = "In percent, answers against ";
  text +=
      protocol == GoldProtocol::kFirst ? "the first gold answer" : "the best of all gold answers";
  text += "; intervals: " + decimals(100 * resampling.confidence, 0) +
          "%, percentile bootstrap over questions (" + num_resamples + " resamples, seed " +
          std::to_string(resampling.seed) + ").";
  if (has_tests(comparison)) {
    text += " p: difference to " + comparison.settings.baseline +
            " on the same questions, two-sided approximate randomisation (" + num_resamples +
            " draws), not corrected for the number of comparisons; *: p < " +
            decimals(kSignificance, 2) + ".";
  }
  return text;
}

std::string render_comparison_text(const Comparison& comparison, GoldProtocol protocol,
                                   std::size_t width) {
  width = std::max<std::size_t>(width, 80);
  std::size_t name_width = display_columns("method");
  for (const std::string& name : comparison.methods)
    name_width = std::max(name_width, display_columns(name));
  name_width = std::min(name_width, width / 4);
  std::string text;
  for (const Panel& panel : pack_panels(comparison, protocol, width - name_width))
    text += render_panel(comparison, panel, name_width) + "\n";
  std::vector<std::string> paragraphs = {comparison_legend(comparison, protocol)};
  paragraphs.insert(paragraphs.end(), comparison.notes.begin(), comparison.notes.end());
  for (const std::string& paragraph : paragraphs) {
    for (const std::string& line : wrap_words(paragraph, width)) text += line + "\n";
  }
  return text;
}

std::string render_comparison_markdown(const Comparison& comparison, GoldProtocol protocol) {
  std::string text = "# Comparison of methods\n\n" + comparison_legend(comparison, protocol) + "\n";
  for (const ComparisonBlock& block : comparison.blocks) {
    std::vector<std::size_t> metrics = metrics_of(block, protocol, /*of_retrieval=*/false);
    const auto of_retrieval = metrics_of(block, protocol, /*of_retrieval=*/true);
    metrics.insert(metrics.end(), of_retrieval.begin(), of_retrieval.end());
    text += "\n## " + cell_text(block.benchmark, 60) + ", " + setting_title(block.setting) +
            "\n\n" + markdown_values(comparison, block, metrics) +
            markdown_differences(comparison, block, metrics);
  }
  if (!comparison.notes.empty()) text += "\n";
  for (const std::string& note : comparison.notes) text += "- " + note + "\n";
  return text;
}

std::string comparison_to_csv(const Comparison& comparison) {
  std::string text =
      csv_row({"method", "benchmark", "setting", "metric", "protocol", "value", "lower", "upper",
               "n", "baseline", "difference", "difference_lower", "difference_upper", "n_paired",
               "p", "p_bootstrap", "select", "context", "compression_rate"});
  for (const ComparisonBlock& block : comparison.blocks) {
    for (std::size_t m = 0; m < comparison.methods.size(); ++m) {
      if (block.results[m] == nullptr) continue;
      const EvalResult& result = block.results[m]->result;
      const std::int32_t rate = result.origin.compression_rate;
      for (std::size_t i = 0; i < kReportMetrics.size(); ++i) {
        const MetricEstimate& estimate = block.estimates[m][i];
        if (estimate.num_questions == 0) continue;
        const auto number = [](bool exists, double value) {
          return exists ? decimals(value, 6) : std::string();
        };
        const auto& paired = estimate.against_baseline;
        const PairedComparison test = paired.value_or(PairedComparison());
        text += csv_row(
            {comparison.methods[m], block.benchmark, to_string(block.setting),
             kReportMetrics[i].name, kReportMetrics[i].protocol, decimals(estimate.value.mean, 6),
             number(estimate.has_interval, estimate.value.low),
             number(estimate.has_interval, estimate.value.high),
             std::to_string(estimate.num_questions), paired ? comparison.settings.baseline : "",
             number(paired.has_value(), test.difference.mean),
             number(paired.has_value(), test.difference.low),
             number(paired.has_value(), test.difference.high),
             paired ? std::to_string(estimate.num_paired) : "",
             number(paired.has_value(), test.permutation_p_value),
             number(paired.has_value(), test.bootstrap_p_value), to_string(result.settings.select),
             to_string(result.settings.context), rate > 0 ? std::to_string(rate) : ""});
      }
    }
  }
  return text;
}

}  // namespace clara
