// fork, exec and wait; signals are passed on, and whoever is left after a failure is ended.
#include "tools/local_ranks.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "tools/exit_codes.h"
#include "tools/stop_signals.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "clara/common/error.h"
#include "clara/parallel/store_socket.h"

namespace clara::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct Rank {
  pid_t process = -1;
  bool has_ended = false;
  int code = 0;  ///< of its end; 128 + n for a signal
};

std::string reason() { return std::strerror(errno); }

int usable_cores() {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0) return 1;
  return std::max(1, CPU_COUNT(&cores));
}

[[noreturn]] void become_rank(const LocalRanks& ranks, std::int64_t rank,
                              const StoreSocket& meeting, pid_t parent) {
  // A group of its own: a Ctrl-C at the terminal reaches the parent alone, which passes it on once.
  ::setpgid(0, 0);
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) ::_exit(kExitDistributed);
  const int nothing = ::open("/dev/null", O_RDONLY);
  if (nothing >= 0) ::dup2(nothing, STDIN_FILENO);
  const auto set = [](const char* name, std::int64_t value) {
    ::setenv(name, std::to_string(value).c_str(), 1);
  };
  set("RANK", rank);
  set("LOCAL_RANK", rank);
  set("WORLD_SIZE", ranks.num_processes);
  set("LOCAL_WORLD_SIZE", ranks.num_processes);
  set("MASTER_PORT", meeting.port);
  ::setenv("MASTER_ADDR", "127.0.0.1", 1);
  set("CLARA_LAUNCHER", 1);
  if (rank == 0) {
    set("CLARA_STORE_SOCKET", meeting.file);
  } else {
    ::close(meeting.file);
  }
  if (std::getenv("OMP_NUM_THREADS") == nullptr) {
    set("OMP_NUM_THREADS",
        std::max<std::int64_t>(1, usable_cores() / std::max<std::int64_t>(1, ranks.num_processes)));
  }
  std::vector<std::string> words = {"/proc/self/exe"};
  for (std::size_t i = 0; i < ranks.arguments.size(); ++i) {
    const std::string& word = ranks.arguments[i];
    if (word == "--num-processes") {
      ++i;
    } else if (!word.starts_with("--num-processes=")) {
      words.push_back(word);
    }
  }
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execv("/proc/self/exe", argv.data());
  print_error("rank " + std::to_string(rank) + " could not be started: " + reason());
  ::_exit(kExitDistributed);
}

void signal_all(const std::vector<Rank>& ranks, int number) {
  for (const Rank& rank : ranks) {
    if (!rank.has_ended) ::kill(rank.process, number);
  }
}

/// Waits for the ranks.
class Watch {
 public:
  Watch(const LocalRanks& settings, std::vector<Rank> ranks)
      : settings_(settings), ranks_(std::move(ranks)) {}

  int run() {
    while (num_ended_ < ranks_.size()) {
      int status = 0;
      const pid_t process = ::waitpid(-1, &status, WNOHANG);
      if (process > 0) {
        on_end(process, status);
        continue;
      }
      pass_signals_on();
      if (first_failure_ >= 0 && !has_killed_ && Clock::now() > deadline_) {
        std::cerr << "the other ranks did not end by themselves and are killed\n";
        signal_all(ranks_, SIGKILL);
        has_killed_ = true;
      }
      ::usleep(10000);
    }
    return result();
  }

 private:
  void on_end(pid_t process, int status) {
    const auto rank = std::find_if(ranks_.begin(), ranks_.end(),
                                   [&](const Rank& r) { return r.process == process; });
    if (rank == ranks_.end()) return;
    rank->has_ended = true;
    ++num_ended_;
    const bool was_killed = WIFSIGNALED(status);
    rank->code = was_killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    if (rank->code == 0 || has_killed_) return;
    const auto number = rank - ranks_.begin();
    // A stop signal may meet a rank before it listens to it.
    const bool was_stopped = num_passed_on_ > 0 && WTERMSIG(status) == stop_signal();
    if (was_killed && !was_stopped) {
      std::cerr << "rank " << number << " of " << ranks_.size() << " (process " << process
                << ") was killed by signal " << WTERMSIG(status) << " ("
                << ::strsignal(WTERMSIG(status)) << ")";
      if (number > 0 && !settings_.logs.empty())
        std::cerr << "; its log: " << settings_.logs << number << ".txt";
      std::cerr << "\n";
      rank->code = kExitDistributed;
    }
    if (first_failure_ < 0) {
      first_failure_ = number;
      deadline_ = Clock::now() + std::chrono::milliseconds(static_cast<std::int64_t>(
                                     (settings_.timeout_seconds + 10) * 1000));
    }
    // Ranks that ended because another one failed end with kExitDistributed: a better reason wins.
    if (cause_ == 0 || cause_ == kExitDistributed) cause_ = rank->code;
  }

  void pass_signals_on() {
    if (num_passed_on_ < stop_signal_count()) {
      ++num_passed_on_;
      signal_all(ranks_, stop_signal());
    }
  }

  int result() const { return cause_; }

  const LocalRanks& settings_;
  std::vector<Rank> ranks_;
  std::size_t num_ended_ = 0;
  std::ptrdiff_t first_failure_ = -1;
  Clock::time_point deadline_;
  bool has_killed_ = false;
  int num_passed_on_ = 0;
  int cause_ = 0;
};

}  // namespace

void refuse_other_launcher(const LaunchEnv& env) {
  if (env.launcher == "none") return;
  throw ConfigError(
      "--num-processes: expected to start the ranks itself, found those of another "
      "launcher (" +
      env.launcher + "); leave the option out");
}

int run_local_ranks(const LocalRanks& ranks) {
  count_stop_signals();
  // Where whoever started this process ignores SIGCHLD, nobody could wait for the ranks.
  ::signal(SIGCHLD, SIG_DFL);
  const StoreSocket meeting = open_store_socket();
  const pid_t parent = ::getpid();
  std::vector<Rank> started;
  for (std::int64_t rank = 0; rank < ranks.num_processes; ++rank) {
    const pid_t process = ::fork();
    if (process == 0) become_rank(ranks, rank, meeting, parent);
    if (process < 0) {
      const std::string why = reason();
      signal_all(started, SIGKILL);
      for (const Rank& other : started) ::waitpid(other.process, nullptr, 0);
      throw DistributedError("rank " + std::to_string(rank) + " could not be started: " + why);
    }
    started.push_back({process, false, 0});
  }
  ::close(meeting.file);
  return Watch(ranks, std::move(started)).run();
}

}  // namespace clara::tools
