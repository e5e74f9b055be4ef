// Drawing of the progress bar.
#include "clara/common/progress.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ostream>
#include <utility>

namespace clara {
namespace {

/// Cells of the bar on a terminal of this width: a narrow one needs the place for what follows.
std::int64_t bar_cells(std::int32_t width) {
  return std::clamp<std::int64_t>(width / 5 - 8, 8, 24);
}

// Back to the first column, and everything behind it gone.
constexpr std::string_view kEraseLine = "\r\x1b[K";

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// At most `width` columns, counting a UTF-8 character as one.
std::string cut_to_width(const std::string& text, std::int32_t width) {
  std::int32_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool starts_character = (static_cast<unsigned char>(text[i]) & 0xC0) != 0x80;
    if (starts_character && ++columns > width) return text.substr(0, i);
  }
  return text;
}

}  // namespace

std::string format_duration(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::max(0.0, seconds)));
  std::array<char, 48> text{};
  if (whole < 60) {
    std::snprintf(text.data(), text.size(), "%llds", whole);
  } else if (whole < 3600) {
    std::snprintf(text.data(), text.size(), "%lldm%02llds", whole / 60, whole % 60);
  } else {
    std::snprintf(text.data(), text.size(), "%lldh%02lldm", whole / 3600, whole / 60 % 60);
  }
  return text.data();
}

ProgressBar::ProgressBar(ProgressSink sink, std::int64_t total, std::string label)
    : sink_(sink),
      total_(std::max<std::int64_t>(total, 0)),
      label_(std::move(label)),
      start_(std::chrono::steady_clock::now()),
      last_shown_(start_) {}

ProgressBar::~ProgressBar() {
  if (has_open_line_) *sink_.out << '\n' << std::flush;
}

void ProgressBar::update(std::int64_t done, std::string_view suffix) {
  done_ = done;
  suffix_ = suffix;
  if (sink_.out == nullptr || is_finished_) return;
  const double pause =
      sink_.is_terminal ? sink_.seconds_between_draws : sink_.seconds_between_lines;
  // A terminal shows the bar at once; a pipe waits for its first line.
  const bool is_first_draw = sink_.is_terminal && shown_done_ < 0;
  if (is_first_draw || seconds_since(last_shown_) >= pause) show();
}

void ProgressBar::finish() {
  if (is_finished_) return;
  is_finished_ = true;
  if (sink_.out == nullptr) return;
  if (shown_done_ != done_ || sink_.is_terminal) show();
  if (has_open_line_) *sink_.out << '\n' << std::flush;
  has_open_line_ = false;
}

void ProgressBar::clear() {
  if (!has_open_line_) return;
  *sink_.out << kEraseLine << std::flush;
  has_open_line_ = false;
}

void ProgressBar::show() {
  last_shown_ = std::chrono::steady_clock::now();
  shown_done_ = done_;
  const double elapsed = seconds_since(start_);
  std::string line = label_ + ' ';
  if (sink_.is_terminal && total_ > 0) {
    const std::int64_t cells = bar_cells(sink_.width);
    const std::int64_t filled = std::clamp<std::int64_t>(done_, 0, total_) * cells / total_;
    line += '[';
    line.append(static_cast<std::size_t>(filled), '=');
    line.append(static_cast<std::size_t>(cells - filled), ' ');
    line += "] ";
  }
  line += std::to_string(done_) + '/' + std::to_string(total_);
  // The time stands before the suffix, whose end a narrow terminal cuts off.
  if (done_ > 0 && done_ < total_) {
    const double left = elapsed * static_cast<double>(total_ - done_) / static_cast<double>(done_);
    line += "  " + format_duration(left) + " left";
  } else {
    line += "  " + format_duration(elapsed);
  }
  if (!suffix_.empty()) line += "  " + suffix_;
  if (sink_.is_terminal) {
    *sink_.out << kEraseLine << cut_to_width(line, sink_.width) << std::flush;
    has_open_line_ = true;
  } else {
    *sink_.out << line << '\n' << std::flush;
  }
}

}  // namespace clara
