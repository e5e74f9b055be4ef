// Tables, page and charts into a folder.
#include "clara/eval/comparison_files.h"

#include <cerrno>
#include <cstring>
#include <string>

#include <unistd.h>

#include "clara/common/atomic_file.h"
#include "clara/common/error.h"
#include "clara/eval/comparison_charts.h"
#include "clara/eval/comparison_page.h"
#include "clara/eval/comparison_tables.h"

namespace clara {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kTextWidth = 120;

/// Only files that write_comparison wrote: by the names that it gives.
void remove_earlier_plots(const fs::path& plots) {
  if (!fs::is_directory(plots)) return;
  std::vector<fs::path> earlier;
  for (const auto& entry : fs::directory_iterator(plots)) {
    const std::string name = entry.path().filename().string();
    const bool is_own = name.starts_with("recall_") || name.starts_with("f1_by_rate_") ||
                        name.starts_with("training_") || name.starts_with("validation_");
    if (is_own && entry.path().extension() == ".svg") earlier.push_back(entry.path());
  }
  for (const fs::path& path : earlier) fs::remove(path);
}

}  // namespace

void prepare_comparison_folder(const fs::path& folder) {
  try {
    make_folders(folder);
  } catch (const Error& failure) {
    throw CheckpointError(std::string(failure.what()) + "; give another one with --out");
  }
  if (!fs::is_directory(folder) || ::access(folder.c_str(), W_OK | X_OK) != 0) {
    throw CheckpointError(folder.string() + ": expected a folder that can be written, found " +
                          (fs::is_directory(folder) ? std::strerror(errno) : "a file") +
                          "; give another one with --out");
  }
}

std::vector<fs::path> write_comparison(const fs::path& folder, const Comparison& comparison,
                                       GoldProtocol protocol) {
  const std::vector<RenderedChart> charts = render_charts(comparison, protocol);
  std::vector<fs::path> written;
  const auto write = [&](const fs::path& path, const std::string& content) {
    write_file_atomically(path, content);
    written.push_back(path);
  };
  write(folder / "report.txt", render_comparison_text(comparison, protocol, kTextWidth));
  write(folder / "report.md", render_comparison_markdown(comparison, protocol));
  write(folder / "report.csv", comparison_to_csv(comparison));
  write(folder / "report.html", render_comparison_page(comparison, charts, protocol));
  remove_earlier_plots(folder / "plots");
  if (!charts.empty()) make_folders(folder / "plots");
  for (const RenderedChart& chart : charts)
    write(folder / "plots" / (chart.name + ".svg"), chart.for_file);
  return written;
}

}  // namespace clara
