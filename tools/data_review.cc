// Shows a row, reads a line, keeps the verdict.
#include "tools/data_review.h"

#include <cstdlib>
#include <iostream>
#include <vector>

#include "tools/exit_codes.h"
#include <sys/ioctl.h>
#include <unistd.h>

#include "clara/analysis/review_rows.h"
#include "clara/data/row_source.h"

namespace clara::tools {
namespace {

RowStyle stdout_style() {
  RowStyle style;
  if (::isatty(STDOUT_FILENO) == 0) return style;
  style.colors = std::getenv("NO_COLOR") == nullptr;
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) style.width = size.ws_col;
  return style;
}

/// False where the reviewer ends.
bool judge(const RawRow& row, VerdictFile& verdicts, const std::string& count) {
  std::string line;
  while (true) {
    std::cout << count
              << " [g]ood, [b]ad, [u]nsure, with a note behind it; [s]kip, [q]uit: " << std::flush;
    if (!std::getline(std::cin, line)) {
      std::cout << "\n";
      return false;
    }
    const ReviewAnswer answer = parse_review_answer(line);
    switch (answer.kind) {
      case ReviewAnswer::Kind::kVerdict:
        verdicts.add(row, answer.verdict, answer.note);
        return true;
      case ReviewAnswer::Kind::kSkip:
        return true;
      case ReviewAnswer::Kind::kQuit:
        return false;
      case ReviewAnswer::Kind::kUnknown:
        break;
    }
  }
}

}  // namespace

int review_rows(const ReviewArguments& arguments) {
  const RowSource rows({{arguments.data, 1.0, 0}});
  const std::vector<std::int64_t> sample =
      sample_rows(rows.size(), arguments.num_rows, arguments.seed);
  const RowStyle style = stdout_style();
  if (!arguments.asks) {
    for (const std::int64_t index : sample) std::cout << render_row(rows.row(index), style) << "\n";
    return kExitOk;
  }
  VerdictFile verdicts(arguments.verdicts.empty() ? arguments.data + ".verdicts.jsonl"
                                                  : arguments.verdicts);
  std::vector<RawRow> open;
  for (const std::int64_t index : sample) {
    RawRow row = rows.row(index);
    if (!verdicts.find(row)) open.push_back(std::move(row));
  }
  if (open.size() < sample.size())
    std::cout << sample.size() - open.size() << " rows were judged before\n\n";
  for (std::size_t i = 0; i < open.size(); ++i) {
    std::cout << render_row(open[i], style);
    const std::string count = std::to_string(i + 1) + "/" + std::to_string(open.size());
    if (!judge(open[i], verdicts, count)) break;
    std::cout << "\n";
  }
  std::cout << render_verdict_counts(verdicts.counts()) << "\n";
  return kExitOk;
}

}  // namespace clara::tools
