// A progress bar for a person at a terminal, a line now and then for a pipe (interface.md).
#pragma once

#include <chrono>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>

namespace clara {

/// Where and how progress is shown. The library has no streams of its own: a program hands in the
/// error stream and whether it is a terminal.
struct ProgressSink {
  std::ostream* out = nullptr;  ///< null: nothing is shown
  bool is_terminal = false;
  std::int32_t width = 100;            ///< columns of the terminal
  double seconds_between_lines = 10;   ///< pipe: a line at most this often (the last one always)
  double seconds_between_draws = 0.1;  ///< terminal
};

/// One job of `total` units. Not for several threads at once.
class ProgressBar {
 public:
  ProgressBar(ProgressSink sink, std::int64_t total, std::string label);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Ends an unfinished bar's line, so that a message behind it starts a line of its own.
  ~ProgressBar();

  /// `done` of `total` units are done; `suffix` follows the numbers ("loss 1.234").
  void update(std::int64_t done, std::string_view suffix = {});
  /// Shows the last update, whatever the time, and ends the line.
  void finish();
  /// Clears the bar so that a message can be written; the next update draws it again. Nothing in a
  /// pipe.
  void clear();

 private:
  void show();

  ProgressSink sink_;
  std::int64_t total_;
  std::string label_;
  std::int64_t done_ = 0;
  std::int64_t shown_done_ = -1;
  std::string suffix_;
  std::chrono::steady_clock::time_point start_;
  std::chrono::steady_clock::time_point last_shown_;
  bool has_open_line_ = false;
  bool is_finished_ = false;
};

/// "7s", "3m20s", "2h05m".
std::string format_duration(double seconds);

}  // namespace clara
