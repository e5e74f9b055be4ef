// Times the way from a record file to its rows: opening, an epoch's order, a row anywhere. One JSON
// object on stdout; scripts/bench_rows.py runs it on files of growing size.
#include <chrono>
#include <iostream>
#include <string>

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include "clara/data/epoch_order.h"
#include "clara/data/row_source.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint64_t kShuffleSeed = 17;
constexpr std::int64_t kRowsRead = 10000;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double peak_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024e-6;
}

int run(const std::string& path) {
  Clock::time_point start = Clock::now();
  const clara::RowSource rows({{path, 1.0, 0}});
  const double open_seconds = seconds_since(start);
  start = Clock::now();
  const clara::EpochOrder order(rows, kShuffleSeed, 0);
  const double order_seconds = seconds_since(start);
  start = Clock::now();
  (void)rows.row(order[order.size() / 2]);  // where a run that is half through goes on
  const double resume_seconds = seconds_since(start);
  std::uint64_t bytes = 0;
  const std::int64_t count = std::min(kRowsRead, order.size());
  start = Clock::now();
  for (std::int64_t i = 0; i < count; ++i) bytes += rows.row(order[i]).text.size();
  const double read_seconds = seconds_since(start);
  std::uint64_t fingerprint = 0;
  for (std::int64_t i = 0; i < order.size(); ++i)
    fingerprint = fingerprint * 1099511628211U + static_cast<std::uint64_t>(order[i]);
  std::cout << nlohmann::json{{"rows", rows.size()},
                              {"open_seconds", open_seconds},
                              {"order_seconds", order_seconds},
                              {"resume_seconds", resume_seconds},
                              {"rows_per_second", static_cast<double>(count) / read_seconds},
                              {"bytes_per_row",
                               static_cast<double>(bytes) / static_cast<double>(count)},
                              {"order", fingerprint},
                              {"peak_mb", peak_mb()}}
                   .dump()
            << "\n";
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: clara_row_bench FILE\n";
    return 2;
  }
  try {
    return run(argv[1]);
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
}
