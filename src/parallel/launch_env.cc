// Environment variables → LaunchEnv, every mistake reported at once.
#include "clara/parallel/launch_env.h"

#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "clara/common/error.h"

namespace clara {
namespace {

// torchrun's own default.
constexpr std::int64_t kDefaultPort = 29500;
// Slurm jobs of one node get ports of their own: below what systems hand out by themselves.
constexpr std::int64_t kFirstSlurmPort = 20000;
constexpr std::int64_t kNumSlurmPorts = 10000;

constexpr const char* kVariables[] = {"RANK",
                                      "WORLD_SIZE",
                                      "LOCAL_RANK",
                                      "LOCAL_WORLD_SIZE",
                                      "MASTER_ADDR",
                                      "MASTER_PORT",
                                      "TORCHELASTIC_RUN_ID",
                                      "TORCHELASTIC_USE_AGENT_STORE",
                                      "TORCHELASTIC_RESTART_COUNT",
                                      "CLARA_LAUNCHER",
                                      "CLARA_STORE_SOCKET",
                                      "SLURM_PROCID",
                                      "SLURM_LOCALID",
                                      "SLURM_STEP_NUM_TASKS",
                                      "SLURM_STEP_NUM_NODES",
                                      "SLURM_STEP_NODELIST",
                                      "SLURM_STEP_ID",
                                      "SLURM_JOB_ID",
                                      "SLURM_STEP_TASKS_PER_NODE",
                                      "SLURM_NODEID",
                                      "SLURM_RESTART_COUNT",
                                      "OMPI_COMM_WORLD_RANK",
                                      "OMPI_COMM_WORLD_SIZE",
                                      "OMPI_COMM_WORLD_LOCAL_RANK",
                                      "OMPI_COMM_WORLD_LOCAL_SIZE",
                                      "PMI_RANK",
                                      "PMI_SIZE",
                                      "MPI_LOCALRANKID",
                                      "MPI_LOCALNRANKS"};

/// Takes numbers out of the environment and collects what is wrong with them.
class Reader {
 public:
  explicit Reader(const std::map<std::string, std::string>& variables) : variables_(variables) {}

  bool has(const std::string& name) const {
    const auto it = variables_.find(name);
    return it != variables_.end() && !it->second.empty();
  }
  std::string text(const std::string& name) const {
    return has(name) ? variables_.at(name) : std::string();
  }

  /// A whole number from `low` to `high`; `absent` where the variable is not set, a mistake where
  /// there is no `absent`.
  std::int64_t number(const std::string& name, std::int64_t low, std::int64_t high,
                      std::optional<std::int64_t> absent = std::nullopt) {
    const std::string expected =
        "expected a whole number from " + std::to_string(low) +
        (high < kMaxNumber ? " to " + std::to_string(high) : std::string(" on"));
    if (!has(name)) {
      if (!absent) report(name, expected, "nothing");
      return absent.value_or(low);
    }
    const std::string value = text(name);
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size() || number < low ||
        number > high) {
      report(name, expected, "\"" + value + "\"");
      return low;
    }
    return number;
  }

  void report(const std::string& name, const std::string& expected, const std::string& found) {
    mistakes_ += "\n  " + name + ": " + expected + ", found " + found;
  }
  const std::string& mistakes() const { return mistakes_; }

  static constexpr std::int64_t kMaxNumber = std::int64_t{1} << 40;

 private:
  const std::map<std::string, std::string>& variables_;
  std::string mistakes_;
};

/// rank < size, local rank < local size ≤ size.
void check_places(const LaunchEnv& env, const char* rank, const char* size, const char* local_rank,
                  Reader& reader) {
  if (!reader.mistakes().empty()) return;
  if (env.rank >= env.world_size) {
    reader.report(
        rank, std::string("expected less than ") + size + " = " + std::to_string(env.world_size),
        std::to_string(env.rank));
  }
  if (env.local_rank >= env.local_world_size) {
    reader.report(
        local_rank,
        "expected less than the " + std::to_string(env.local_world_size) + " ranks of this node",
        std::to_string(env.local_rank));
  }
  if (env.local_world_size > env.world_size) {
    reader.report(
        size,
        "expected at least the " + std::to_string(env.local_world_size) + " ranks of this node",
        std::to_string(env.world_size));
  }
}

/// MASTER_ADDR and MASTER_PORT, or what the launcher leaves to infer.
void read_master(LaunchEnv& env, const std::string& inferred_addr, std::int64_t default_port,
                 Reader& reader) {
  env.master_port = reader.number("MASTER_PORT", 1, 65535, default_port);
  env.master_addr = reader.text("MASTER_ADDR");
  if (env.master_addr.empty()) env.master_addr = inferred_addr;
  if (env.master_addr.empty() && env.local_world_size == env.world_size)
    env.master_addr = "127.0.0.1";
  if (env.master_addr.empty())
    reader.report("MASTER_ADDR", "expected the host of rank 0", "nothing");
}

void read_torchrun(LaunchEnv& env, Reader& reader) {
  env.launcher = reader.has("CLARA_LAUNCHER") ? "clara" : "torchrun";
  env.world_size = reader.number("WORLD_SIZE", 1, Reader::kMaxNumber);
  env.rank = reader.number("RANK", 0, Reader::kMaxNumber);
  env.local_rank = reader.number("LOCAL_RANK", 0, Reader::kMaxNumber);
  env.local_world_size =
      reader.number("LOCAL_WORLD_SIZE", 1, Reader::kMaxNumber, env.local_rank + 1);
  env.store_is_launchers = reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  env.restart_count = reader.number("TORCHELASTIC_RESTART_COUNT", 0, Reader::kMaxNumber, 0);
  env.store_socket = reader.number("CLARA_STORE_SOCKET", 0, Reader::kMaxNumber, -1);
  check_places(env, "RANK", "WORLD_SIZE", "LOCAL_RANK", reader);
  env.master_port = reader.number("MASTER_PORT", 1, 65535);
  env.master_addr = reader.text("MASTER_ADDR");
  if (env.master_addr.empty())
    reader.report("MASTER_ADDR", "expected the host of rank 0", "nothing");
}

/// Takes a whole number off the front of a text.
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return number;
}

/// Tasks of the node with this number in Slurm's list, "4(x2),2": two nodes of four, one of two;
/// nothing where the list does not say it.
std::optional<std::int64_t> slurm_tasks_of_node(std::string_view list, std::int64_t node) {
  while (true) {
    const std::optional<std::int64_t> tasks = take_number(list);
    if (!tasks) return std::nullopt;
    std::int64_t num_nodes = 1;
    if (list.starts_with("(x")) {
      list.remove_prefix(2);
      const std::optional<std::int64_t> repeated = take_number(list);
      if (!repeated || !list.starts_with(")")) return std::nullopt;
      num_nodes = *repeated;
      list.remove_prefix(1);
    }
    if (node < num_nodes) return tasks;
    node -= num_nodes;
    if (!list.starts_with(",")) return std::nullopt;
    list.remove_prefix(1);
  }
}

void read_slurm(LaunchEnv& env, Reader& reader) {
  env.launcher = "slurm";
  env.world_size = reader.number("SLURM_STEP_NUM_TASKS", 1, Reader::kMaxNumber);
  env.rank = reader.number("SLURM_PROCID", 0, Reader::kMaxNumber);
  env.local_rank = reader.number("SLURM_LOCALID", 0, Reader::kMaxNumber);
  const std::int64_t nodes = reader.number("SLURM_STEP_NUM_NODES", 1, Reader::kMaxNumber, 1);
  const std::int64_t node = reader.number("SLURM_NODEID", 0, Reader::kMaxNumber, 0);
  env.local_world_size = slurm_tasks_of_node(reader.text("SLURM_STEP_TASKS_PER_NODE"), node)
                             .value_or((env.world_size + nodes - 1) / nodes);
  env.restart_count = reader.number("SLURM_RESTART_COUNT", 0, Reader::kMaxNumber, 0);
  check_places(env, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", reader);
  const std::int64_t job = reader.number("SLURM_JOB_ID", 0, Reader::kMaxNumber, 0);
  const std::int64_t step = reader.number("SLURM_STEP_ID", 0, Reader::kMaxNumber, 0);
  read_master(env, first_slurm_host(reader.text("SLURM_STEP_NODELIST")),
              kFirstSlurmPort + (job * 7 + step) % kNumSlurmPorts, reader);
}

void read_mpi(LaunchEnv& env, bool is_open_mpi, Reader& reader) {
  env.launcher = "mpi";
  const char* const size = is_open_mpi ? "OMPI_COMM_WORLD_SIZE" : "PMI_SIZE";
  const char* const rank = is_open_mpi ? "OMPI_COMM_WORLD_RANK" : "PMI_RANK";
  const char* const local_rank = is_open_mpi ? "OMPI_COMM_WORLD_LOCAL_RANK" : "MPI_LOCALRANKID";
  const char* const local_size = is_open_mpi ? "OMPI_COMM_WORLD_LOCAL_SIZE" : "MPI_LOCALNRANKS";
  env.world_size = reader.number(size, 1, Reader::kMaxNumber);
  env.rank = reader.number(rank, 0, Reader::kMaxNumber);
  env.local_rank = reader.number(local_rank, 0, Reader::kMaxNumber);
  env.local_world_size = reader.number(local_size, 1, Reader::kMaxNumber);
  check_places(env, rank, size, local_rank, reader);
  read_master(env, "", kDefaultPort, reader);
}

}  // namespace

std::map<std::string, std::string> environment_variables() {
  std::map<std::string, std::string> variables;
  for (const char* name : kVariables) {
    if (const char* value = std::getenv(name)) variables.emplace(name, value);
  }
  return variables;
}

LaunchEnv read_launch_env(const std::map<std::string, std::string>& variables) {
  Reader reader(variables);
  LaunchEnv env;
  if (reader.text("RANK") == "0" && reader.text("WORLD_SIZE") == "1" &&
      !reader.has("MASTER_PORT")) {
    return env;  // left behind in a container, say: there is nobody to meet
  }
  if (reader.has("RANK") || reader.has("WORLD_SIZE")) {
    read_torchrun(env, reader);
  } else if (reader.has("SLURM_STEP_NUM_TASKS") && reader.text("SLURM_STEP_NUM_TASKS") != "1") {
    // A batch script has SLURM_NTASKS and SLURM_PROCID too, but is one process: only a step of srun
    // has SLURM_STEP_NUM_TASKS.
    read_slurm(env, reader);
  } else if (reader.has("OMPI_COMM_WORLD_SIZE") && reader.text("OMPI_COMM_WORLD_SIZE") != "1") {
    read_mpi(env, true, reader);
  } else if (reader.has("PMI_SIZE") && reader.text("PMI_SIZE") != "1") {
    read_mpi(env, false, reader);
  } else {
    return env;
  }
  if (!reader.mistakes().empty()) {
    throw ConfigError(
        "the environment of the launcher (" + env.launcher +
        ") does not describe a group of processes:" + reader.mistakes() +
        "\nstart with torchrun --no-python, srun, mpirun or --num-processes, or unset "
        "these variables");
  }
  return env;
}

std::string first_slurm_host(const std::string& node_list) {
  const std::size_t end = node_list.find_first_of(",[");
  if (end == std::string::npos || node_list[end] == ',') return node_list.substr(0, end);
  const std::size_t stop = node_list.find_first_of("-,]", end + 1);
  if (stop == std::string::npos) return {};
  const std::size_t close = node_list.find(']', end);
  std::string suffix;
  if (close != std::string::npos) {
    const std::size_t next = node_list.find_first_of(",[", close);
    suffix = node_list.substr(close + 1, next == std::string::npos ? next : next - close - 1);
  }
  return node_list.substr(0, end) + node_list.substr(end + 1, stop - end - 1) + suffix;
}

std::string rank_name(std::int64_t rank, std::int64_t world_size) {
  return "rank " + std::to_string(rank) + " of " + std::to_string(world_size);
}

}  // namespace clara
