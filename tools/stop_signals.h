// SIGTERM and SIGINT: the first asks the run to finish its step and save, the second ends the
// process at once.
#pragma once

#include <csignal>
#include <ctime>

#include <unistd.h>

namespace clara::tools {

inline volatile std::sig_atomic_t g_stop_signal = 0;

inline timespec g_stop_signal_time = {};

/// One request may arrive twice: of a whole group of processes the launcher gets it too and passes
/// it on. The same signal within this time is not a second request.
inline constexpr double kSameRequestSeconds = 0.25;

extern "C" inline void clara_handle_stop_signal(int number) {
  timespec now = {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (g_stop_signal == 0) {
    g_stop_signal_time = now;
    g_stop_signal = number;
    return;
  }
  const double seconds = static_cast<double>(now.tv_sec - g_stop_signal_time.tv_sec) +
                         static_cast<double>(now.tv_nsec - g_stop_signal_time.tv_nsec) * 1e-9;
  if (number != g_stop_signal || seconds > kSameRequestSeconds) _exit(128 + number);
}

inline void install_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = clara_handle_stop_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

/// The signal's number; 0 if none came.
inline int stop_signal() { return g_stop_signal; }

inline volatile std::sig_atomic_t g_stop_signal_count = 0;

extern "C" inline void clara_count_stop_signal(int number) {
  g_stop_signal = number;
  g_stop_signal_count = g_stop_signal_count + 1;
}

/// For a process that only passes signals on: none of them ends it.
inline void count_stop_signals() {
  struct sigaction action = {};
  action.sa_handler = clara_count_stop_signal;
  sigemptyset(&action.sa_mask);
  sigaction(SIGTERM, &action, nullptr);
  sigaction(SIGINT, &action, nullptr);
}

inline int stop_signal_count() { return g_stop_signal_count; }

}  // namespace clara::tools
