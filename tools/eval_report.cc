// clara-eval report: its arguments, the table as wide as the terminal, the files that were written.
#include "tools/eval_report.h"

#include <cstdint>
#include <iostream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/exit_codes.h"
#include "tools/stderr_progress.h"
#include <sys/ioctl.h>
#include <unistd.h>

#include "clara/common/progress.h"
#include "clara/eval/comparison.h"
#include "clara/eval/comparison_files.h"
#include "clara/eval/comparison_tables.h"
#include "clara/eval/method_results.h"

namespace clara::tools {
namespace {

struct ReportArguments {
  std::vector<std::string> sources;
  std::string output;
  std::string protocol = "first";
  std::int64_t width = 0;  // 0: the terminal's
  ComparisonSettings comparison;
  ExampleLimits limits;
};

std::size_t table_width(std::int64_t wanted) {
  if (wanted > 0) return static_cast<std::size_t>(wanted);
  winsize size = {};
  const bool is_known =
      isatty(STDOUT_FILENO) == 1 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return is_known ? size.ws_col : 120;
}

int report(const ReportArguments& arguments) {
  std::vector<MethodSource> sources;
  for (const std::string& argument : arguments.sources)
    for (MethodSource& source : parse_method_sources(argument))
      sources.push_back(std::move(source));
  const GoldProtocol protocol =
      arguments.protocol == "best" ? GoldProtocol::kBest : GoldProtocol::kFirst;
  MethodResults results = collect_method_results(sources, arguments.limits);
  ProgressSink sink = stderr_progress();
  if (!sink.is_terminal) sink.out = nullptr;  // seconds of work are no news for a log
  ProgressBar bar(sink, static_cast<std::int64_t>(results.results.size()), "comparing");
  const Comparison comparison = compare_methods(std::move(results), arguments.comparison,
                                                [&](std::int64_t done) { bar.update(done); });
  bar.finish();
  if (!arguments.output.empty()) prepare_comparison_folder(arguments.output);
  std::cout << render_comparison_text(comparison, protocol, table_width(arguments.width));
  if (arguments.output.empty()) return kExitOk;
  std::cout << "\n";
  for (const auto& path : write_comparison(arguments.output, comparison, protocol))
    std::cout << path.string() << "\n";
  return kExitOk;
}

}  // namespace

std::function<int()> add_report_command(CLI::App& app) {
  const auto arguments = std::make_shared<ReportArguments>();
  CLI::App* command = app.add_subcommand(
      "report", "tables, plots and a page with the examples, over the results of several methods");
  command
      ->add_option(
          "runs", arguments->sources,
          "DIR or NAME=DIR: run folders, result folders or scores.json files; NAME is the "
          "method's in the tables; NAME=DIR,DIR,… averages runs with other seeds, question "
          "by question")
      ->required();
  command->add_option("--out", arguments->output,
                      "folder for report.txt, report.md, report.csv, report.html and plots/*.svg");
  command->add_option("--baseline", arguments->comparison.baseline,
                      "the method that the others are tested against");
  command
      ->add_option("--protocol", arguments->protocol,
                   "which gold answers count in the tables: the first, or the best of all")
      ->check(CLI::IsMember({"first", "best"}))
      ->capture_default_str();
  ResamplingSettings& resampling = arguments->comparison.resampling;
  command->add_option("--resamples", resampling.num_resamples, "of the bootstrap and of the test")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--confidence", resampling.confidence, "of the intervals")
      ->check(CLI::Range(0.5, 0.999))
      ->capture_default_str();
  command->add_option("--seed", resampling.seed, "draws the resamples")->capture_default_str();
  command
      ->add_option("--width", arguments->width,
                   "columns of the tables, 80 or more (default: the terminal's, else 120)")
      ->check(CLI::Range(std::int64_t{80}, std::int64_t{10000}));
  command
      ->add_option("--max-examples", arguments->limits.num_questions,
                   "questions of each result in report.html; 0 = all")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  return [arguments] { return report(*arguments); };
}

}  // namespace clara::tools
