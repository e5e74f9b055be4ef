// clara-train: scp, tune, joint and retriever from a config (interface.md "Commands"). Arguments,
// signals, exit codes and what is shown; the work is in the library.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tools/exit_codes.h"
#include "tools/local_ranks.h"
#include "tools/process_setup.h"
#include "tools/rank_process.h"
#include "tools/stop_signals.h"
#include <CLI/CLI.hpp>
#include <sys/ioctl.h>
#include <unistd.h>

#include "clara/checkpoint/open_model.h"
#include "clara/common/error.h"
#include "clara/common/progress.h"
#include "clara/common/version.h"
#include "clara/config/load_config.h"
#include "clara/parallel/launch_env.h"
#include "clara/trainer/run_plan.h"
#include "clara/trainer/training_job.h"

namespace {

using clara::MetricRow;

/// What is shown while a run goes on; log.txt has all of it, and errors are always shown.
enum class LogLevel : std::uint8_t { kError, kWarning, kInfo };

const std::map<std::string, LogLevel> kLogLevels = {
    {"error", LogLevel::kError}, {"warning", LogLevel::kWarning}, {"info", LogLevel::kInfo}};

/// The library begins its warnings with this word.
LogLevel level_of(const std::string& message) {
  return message.rfind("warning:", 0) == 0 ? LogLevel::kWarning : LogLevel::kInfo;
}

struct Arguments {
  std::string config;
  std::vector<std::string> assignments;
  std::string output;
  std::string resume = "never";
  std::string on_bad_record;
  bool allow_changes = false;
  bool print_config = false;
  bool dry_run = false;
  bool plan = false;
  int num_gpus = 1;
  std::int64_t profile_steps = 0;
  std::int64_t num_processes = 1;
  LogLevel log_level = LogLevel::kInfo;
  std::vector<std::string> words;  ///< the command line as it was given
};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.4g", value);
  return text;
}

/// Name and value of the metrics that exist, separated by two blanks.
std::string select_metrics(const MetricRow& metrics,
                           const std::vector<std::pair<std::string, std::string>>& wanted) {
  std::string text;
  for (const auto& [key, label] : wanted) {
    const auto it = metrics.find(key);
    if (it != metrics.end()) text += (text.empty() ? "" : "  ") + label + " " + number(it->second);
  }
  return text;
}

/// Shows a run on the terminal (a bar) or in a pipe (a line a logged step), and keeps log.txt.
/// Ranks other than 0 show nothing and keep log_rank_<n>.txt.
class Watcher final : public clara::TrainObserver {
 public:
  Watcher(const clara::RunConfig& config, std::int64_t rank, LogLevel level)
      : config_(config), rank_(rank), level_(level), is_terminal_(isatty(STDERR_FILENO) == 1) {}

  void on_step(std::int64_t step, std::int64_t total, const MetricRow& metrics) override {
    const std::string shown = select_metrics(metrics, {{"loss", "loss"},
                                                       {"learning_rate", "lr"},
                                                       {"rows_per_second", "rows/s"},
                                                       {"answer_tokens_per_second", "answer tok/s"},
                                                       {"cross_entropy", "ce"},
                                                       {"alignment", "align"},
                                                       {"latent_token", "latent_token"},
                                                       {"retrieval", "retrieval"}});
    log("step " + std::to_string(step) + "/" + std::to_string(total) + "  " + shown);
    if (rank_ > 0 || level_ < LogLevel::kInfo) return;
    if (is_terminal_) {
      if (bar_ == nullptr) {
        winsize size = {};
        const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
        bar_ = std::make_unique<clara::ProgressBar>(
            clara::ProgressSink{&std::cerr, true, known ? size.ws_col : 100, 10, 0.1}, total,
            clara::to_string(config_.stage));
      }
      bar_->update(step, shown);
      if (step == total) bar_->finish();
    } else if (step == total ||
               step % std::max<std::int64_t>(config_.logging.every_steps, 1) == 0) {
      std::cerr << clara::to_string(config_.stage) << " step " << step << "/" << total << "  "
                << shown << "  left " << time_left(step, total) << "\n";
    }
  }

  void on_validation(std::int64_t step, const MetricRow& metrics) override {
    std::string text = "validation at step " + std::to_string(step) + ":";
    for (const auto& [name, value] : metrics)
      text += "  " + name.substr(name.find('/') + 1) + " " + number(value);
    on_message(text);
  }

  /// The loop tells it first, then whoever ends the rank.
  void on_error(const std::string& message) override {
    if (message != last_error_) log("error: " + message);
    last_error_ = message;
  }

  void on_message(const std::string& message) override {
    log(message);
    if (rank_ > 0 || level_ < level_of(message)) return;
    if (bar_ != nullptr) bar_->clear();
    std::cerr << message << "\n";
  }

 private:
  std::string time_left(std::int64_t step, std::int64_t total) {
    const auto now = std::chrono::steady_clock::now();
    if (first_step_ < 0) {
      first_step_ = step;
      start_ = now;
      return "?";
    }
    const double seconds = std::chrono::duration<double>(now - start_).count() /
                           static_cast<double>(step - first_step_);
    return clara::format_duration(seconds * static_cast<double>(total - step));
  }

  void log(const std::string& message) {
    log_.clear();  // a disk that was full for a while
    if (!log_.is_open()) {
      const std::string name = rank_ > 0 ? "log_rank_" + std::to_string(rank_) + ".txt" : "log.txt";
      log_.open(config_.output.folder + "/" + name, std::ios::app);
    }
    const std::time_t now = std::time(nullptr);
    char stamp[32];
    std::strftime(stamp, sizeof stamp, "%Y-%m-%d %H:%M:%S", std::localtime(&now));
    waiting_ += std::string(stamp) + " " + message + "\n";
    if (!log_.is_open()) return;
    log_ << waiting_ << std::flush;
    waiting_.clear();
  }

  const clara::RunConfig& config_;
  std::int64_t rank_;
  LogLevel level_;
  bool is_terminal_;
  std::ofstream log_;
  std::string waiting_;  ///< told before there was a run folder
  std::string last_error_;
  std::unique_ptr<clara::ProgressBar> bar_;
  std::int64_t first_step_ = -1;
  std::chrono::steady_clock::time_point start_;
};

/// Passes warnings on; a dry run has no run folder to log into.
class MessagePrinter final : public clara::TrainObserver {
 public:
  explicit MessagePrinter(LogLevel level) : level_(level) {}
  void on_message(const std::string& message) override {
    if (level_of(message) <= level_) std::cerr << message << "\n";
  }

 private:
  LogLevel level_;
};

int show_dry_run(const clara::RunConfig& config, LogLevel level) {
  MessagePrinter observer(level);
  const clara::DryRunReport report = clara::dry_run(config, observer);
  std::cout << "dry run of " << clara::to_string(config.stage) << ": nothing was written\n"
            << "  training rows              " << report.num_rows << "\n"
            << "  validation rows            " << report.num_validation_rows << "\n"
            << "  bad rows                   " << report.num_bad_rows << "\n"
            << "  bad validation rows        " << report.num_bad_validation_rows << "\n"
            << "  documents cut              " << report.num_cut_documents << "\n"
            << "  questions cut              " << report.num_cut_questions << "\n"
            << "  answers cut                " << report.num_cut_answers << "\n"
            << "  documents left out         " << report.num_dropped_documents << "\n"
            << "  longest document, tokens   " << report.longest_document_tokens
            << " (memory tokens included)\n"
            << "  longest sequence, tokens   " << report.longest_sequence_tokens << "\n"
            << "  steps                      " << report.total_steps << "\n"
            << "  loss of the longest row    " << number(report.loss) << "\n";
  for (const std::string& message : report.bad_rows) std::cerr << "error: " << message << "\n";
  const bool any_bad = report.num_bad_rows + report.num_bad_validation_rows > 0;
  return any_bad && config.data.on_bad_record == "stop" ? clara::tools::kExitData
                                                        : clara::tools::kExitOk;
}

/// One rank of a group, from the meeting to the exit code.
int train_as_rank(const clara::RunConfig& config, const clara::LaunchEnv& env,
                  clara::JobOptions options, LogLevel level) {
  clara::GroupSettings group;
  group.timeout_seconds = config.parallel.timeout_seconds;
  group.with_cuda = clara::resolve_device(config.model.device, env.local_rank).is_cuda();
  const std::unique_ptr<clara::Communicator> communicator = clara::tools::join_as_rank(env, group);
  options.communicator = communicator.get();
  // Whoever started the group again wants it to go on from where it was, not from where it began.
  if (env.restart_count > 0 && (options.resume == "never" ||
                                std::filesystem::exists(config.output.folder + "/checkpoints"))) {
    options.resume = "auto";
  }
  Watcher watcher(config, env.rank, level);
  clara::TrainLoopResult result;
  try {
    result = clara::run_training_job(config, options, watcher);
  } catch (const std::exception& error) {
    if (communicator->size() == 1) throw;
    if (env.rank > 0) watcher.on_error(clara::tools::error_text(error));
    clara::tools::end_rank(env, error);
  }
  if (result.stopped) {
    const int signal = clara::tools::stop_signal() != 0 ? clara::tools::stop_signal() : SIGTERM;
    if (env.rank == 0 && level >= LogLevel::kWarning) {
      std::cerr << "stopped by a signal after step " << result.step
                << "; go on with --resume auto\n";
    }
    return 128 + signal;
  }
  if (env.rank == 0 && level >= LogLevel::kInfo) {
    std::cerr << clara::to_string(config.stage) << " finished after " << result.step
              << " steps: " << config.output.folder << "/final\n";
  }
  return clara::tools::kExitOk;
}

int run(clara::Stage stage, const Arguments& arguments) {
  clara::ConfigOverrides overrides;
  overrides.stage = stage;
  overrides.assignments = arguments.assignments;
  if (!arguments.output.empty()) {
    overrides.assignments.push_back(clara::string_assignment("output.folder", arguments.output));
  }
  if (!arguments.on_bad_record.empty()) {
    overrides.assignments.push_back(
        clara::string_assignment("data.on_bad_record", arguments.on_bad_record));
  }
  const clara::RunConfig config = clara::load_run_config(arguments.config, overrides);
  if (arguments.print_config) {
    std::cout << clara::print_run_config(config);
    return clara::tools::kExitOk;
  }
  if (arguments.plan) {
    std::cout << clara::render_plan(clara::make_run_plan(config, arguments.num_gpus));
    return clara::tools::kExitOk;
  }
  if (arguments.dry_run) return show_dry_run(config, arguments.log_level);

  const clara::LaunchEnv env = clara::read_launch_env(clara::environment_variables());
  if (arguments.num_processes > 1) {
    clara::tools::refuse_other_launcher(env);
    return clara::tools::run_local_ranks({arguments.num_processes, arguments.words,
                                          config.parallel.timeout_seconds,
                                          config.output.folder + "/log_rank_"});
  }
  clara::tools::install_stop_signals();
  clara::JobOptions options;
  options.resume = arguments.resume;
  options.profile_steps = arguments.profile_steps;
  // LibTorch's profiler looks for GPUs and reports as an error that there are none.
  if (arguments.profile_steps > 0) ::setenv("KINETO_LOG_LEVEL", "99", 0);
  options.allow_changes = arguments.allow_changes;
  options.should_stop = [] { return clara::tools::stop_signal() != 0; };
  return train_as_rank(config, env, std::move(options), arguments.log_level);
}

}  // namespace

int main(int argc, char** argv) {
  clara::tools::keep_heap_memory();
  CLI::App app{
      "Train CLaRa: salient compressor pretraining (scp), compression instruction tuning (tune), "
      "joint training of "
      "retrieval and generation (joint), and the supervised retriever baseline (retriever).",
      "clara-train"};
  app.set_version_flag("--version", std::string("clara-train ") + clara::kVersion);
  app.require_subcommand(1);
  Arguments arguments;
  arguments.words.assign(argv + 1, argv + argc);
  std::optional<clara::Stage> stage;
  const auto add = [&](const char* name, const char* help, clara::Stage value) {
    CLI::App* sub = app.add_subcommand(name, help);
    sub->add_option("--config", arguments.config, "YAML or JSON file")->required();
    sub->add_option("--set", arguments.assignments,
                    "key.path=value, over the file; may be given again")
        ->take_all()
        ->allow_extra_args(false);
    sub->add_option("--output", arguments.output, "run folder (output.folder)");
    sub->add_option("--resume", arguments.resume,
                    "auto: go on from the newest sound checkpoint; never; or a checkpoint folder")
        ->capture_default_str();
    sub->add_flag("--allow-changes", arguments.allow_changes,
                  "resume although settings or data differ from the checkpoint's in ways that "
                  "change the result");
    sub->add_option("--on-bad-record", arguments.on_bad_record,
                    "stop, or skip: count and list bad rows (data.on_bad_record)");
    sub->add_flag("--print-config", arguments.print_config,
                  "print the whole resolved config and stop");
    sub->add_flag("--dry-run", arguments.dry_run,
                  "load everything, check every record, one forward pass, stop");
    sub->add_flag("--plan", arguments.plan,
                  "print parameters, memory, arithmetic and steps without loading weights");
    sub->add_option("--num-gpus", arguments.num_gpus, "of the plan")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    sub->add_option("--log-level", arguments.log_level,
                    "info: progress and all messages; warning: no progress; error: errors alone "
                    "(log.txt in the run folder has everything)")
        ->transform(CLI::CheckedTransformer(kLogLevels).description(""))
        ->type_name("{error,warning,info}")
        ->default_str("info");
    sub->add_option("--profile", arguments.profile_steps,
                    "record so many steps: a trace in the run folder's profile/, a table by phase")
        ->check(CLI::NonNegativeNumber);
    sub->add_option("--num-processes", arguments.num_processes,
                    "start so many ranks on this machine and watch them (torchrun, srun and mpirun "
                    "start them elsewhere)")
        ->check(CLI::PositiveNumber)
        ->capture_default_str();
    sub->callback([&stage, value] { stage = value; });
  };
  add("scp", "pretrain the compressor: answer and paraphrase from latents", clara::Stage::kScp);
  add("tune", "instruction tuning over several compressed documents", clara::Stage::kTune);
  add("joint", "train query reasoner and generator through a differentiable top-k",
      clara::Stage::kJoint);
  add("retriever", "the supervised retriever baseline", clara::Stage::kRetriever);
  return clara::tools::run_main(app, argc, argv, [&] { return run(*stage, arguments); });
}
