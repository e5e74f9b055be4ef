// c10d's backends, used without its Python-facing dispatch, and the rendezvous before them.
#include "clara/parallel/process_group_communicator.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <utility>

#include "common/device_copy.h"
#include "parallel/peer_watch.h"
#include <ATen/record_function.h>
#include <netdb.h>
#include <sys/socket.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <torch/torch.h>
#include <unistd.h>
#ifdef USE_C10D_NCCL
#include <c10/cuda/CUDAFunctions.h>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>
#endif

#include "clara/common/error.h"

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;
using BackendPtr = c10::intrusive_ptr<c10d::Backend>;
using StorePtr = c10::intrusive_ptr<c10d::Store>;
using WorkPtr = c10::intrusive_ptr<c10d::Work>;

// How often a rank that waits in a collective looks whether the group still lives.
constexpr milliseconds kWaitSlice(200);

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

std::string host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return "an unnamed host";
  return name.data();
}

/// The address of this machine that packets to `host` leave from: the one that its peers reach.
std::string local_address_towards(const std::string& host, std::int64_t port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_DGRAM;
  addrinfo* found = nullptr;
  if (::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return {};
  std::string address;
  for (const addrinfo* a = found; a != nullptr && address.empty(); a = a->ai_next) {
    const int file = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (file < 0) continue;
    sockaddr_storage own{};
    socklen_t length = sizeof own;
    std::array<char, NI_MAXHOST> text{};
    // Connecting a datagram socket sends nothing; it chooses the route.
    if (::connect(file, a->ai_addr, a->ai_addrlen) == 0 &&
        ::getsockname(file, reinterpret_cast<sockaddr*>(&own), &length) == 0 &&
        ::getnameinfo(reinterpret_cast<sockaddr*>(&own), length, text.data(), text.size(), nullptr,
                      0, NI_NUMERICHOST) == 0) {
      address = text.data();
    }
    ::close(file);
  }
  ::freeaddrinfo(found);
  return address;
}

bool is_loopback(const std::string& address) {
  return address.starts_with("127.") || address == "::1";
}

std::shared_ptr<::gloo::transport::Device> make_gloo_device(const LaunchEnv& env) {
  if (const char* interface = std::getenv("GLOO_SOCKET_IFNAME")) {
    return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  }
  if (env.local_world_size == env.world_size)
    return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  const std::string address = local_address_towards(env.master_addr, env.master_port);
  if (address.empty() || is_loopback(address)) {
    throw DistributedError(
        rank_name(env.rank, env.world_size) + " on " + host_name() +
        ": expected an address of this machine that the other nodes can reach, found " +
        (address.empty() ? "no route to " : address + " on the way to ") + env.master_addr +
        "; give MASTER_ADDR as an address of the network, or set GLOO_SOCKET_IFNAME");
  }
  return c10d::ProcessGroupGloo::createDeviceForHostname(address);
}

std::string store_address(const LaunchEnv& env) {
  return env.master_addr + ":" + std::to_string(env.master_port);
}

std::string store_name(const LaunchEnv& env) {
  return "the store at " + store_address(env) + ", which " +
         (env.store_is_launchers ? "the launcher serves,"
                                 : rank_name(0, env.world_size) + " serves,");
}

StorePtr connect_store(const LaunchEnv& env, milliseconds timeout) {
  c10d::TCPStoreOptions options;
  options.port = static_cast<std::uint16_t>(env.master_port);
  options.isServer = env.rank == 0 && !env.store_is_launchers;
  options.numWorkers = static_cast<std::size_t>(env.world_size);
  options.waitWorkers = false;
  options.timeout = timeout;
  if (options.isServer && env.store_socket >= 0)
    options.masterListenFd = static_cast<int>(env.store_socket);
  try {
    return c10::make_intrusive<c10d::TCPStore>(env.master_addr, options);
  } catch (const std::exception& error) {
    throw DistributedError(
        rank_name(env.rank, env.world_size) + " on " + host_name() + ": " +
        (options.isServer ? "could not open " : "could not reach ") + store_name(env) +
        " within the timeout: " + first_line(error.what()) +
        "; check MASTER_ADDR and MASTER_PORT (is the port free, does rank 0 run?)");
  }
}

/// Sets this rank's name and heartbeat, and waits for those of all others.
std::vector<std::string> meet(const StorePtr& store, const LaunchEnv& env,
                              const GroupSettings& settings) {
  const milliseconds timeout(static_cast<std::int64_t>(settings.timeout_seconds * 1000));
  const auto key = [](std::int64_t rank) { return "name/" + std::to_string(rank); };
  const Clock::time_point start = Clock::now();
  // Whoever serves the store gives up last: the others could not tell who is missing.
  const bool serves_store = env.rank == 0 && !env.store_is_launchers;
  const milliseconds patience = timeout + (serves_store ? milliseconds(1000) : milliseconds(0));
  try {
    store->set(heartbeat_key(env.rank), first_heartbeat());
    store->set(key(env.rank), rank_name(env.rank, env.world_size) + " (process " +
                                  std::to_string(::getpid()) + " on " + host_name() + ")");
    std::vector<std::string> names;
    for (std::int64_t r = 0; r < env.world_size; ++r) {
      milliseconds pause(1);
      while (!store->check({key(r)})) {
        if (Clock::now() - start > patience) {
          std::string missing;
          for (std::int64_t late = 0; late < env.world_size; ++late) {
            if (!store->check({key(late)}))
              missing += (missing.empty() ? "" : ", ") + std::to_string(late);
          }
          throw DistributedError(rank_name(env.rank, env.world_size) + " waited " +
                                 std::to_string(timeout.count() / 1000) + " s (" +
                                 settings.timeout_setting +
                                 ") before the first step for ranks that did not come: " + missing);
        }
        std::this_thread::sleep_for(pause);
        pause = std::min(2 * pause, milliseconds(100));
      }
      names.push_back(store->get_to_str(key(r)));
    }
    return names;
  } catch (const DistributedError&) {
    throw;
  } catch (const std::exception& error) {
    throw DistributedError(rank_name(env.rank, env.world_size) + " lost " + store_name(env) +
                           " before the first step: " + first_line(error.what()));
  }
}

class ProcessGroupCommunicator final : public Communicator {
 public:
  ProcessGroupCommunicator(const LaunchEnv& env, const GroupSettings& settings)
      : env_(env), timeout_(static_cast<std::int64_t>(settings.timeout_seconds * 1000)) {
    const StorePtr store = connect_store(env, timeout_);
    const std::string prefix = "clara/" + std::to_string(env.restart_count);
    const auto prefixed = [&](const StorePtr& s, const std::string& name) {
      return c10::make_intrusive<c10d::PrefixStore>(prefix + name, s);
    };
    StorePtr own_connection;
    std::vector<std::string> names = meet(prefixed(store, ""), env, settings);
    try {
      own_connection = store->clone();
      auto options = c10d::ProcessGroupGloo::Options::create(
          // Behind the watch's own limit, which has the better message.
          2 * timeout_ + milliseconds(5000));
      options->devices.push_back(make_gloo_device(env));
      gloo_ = c10::make_intrusive<c10d::ProcessGroupGloo>(
          prefixed(store, "/gloo"), static_cast<int>(env.rank), static_cast<int>(env.world_size),
          options);
      if (settings.with_cuda) make_nccl(prefixed(store, "/nccl"));
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      throw DistributedError(rank_name(env.rank, env.world_size) + " on " + host_name() +
                             ": the ranks could not be connected: " + first_line(error.what()) +
                             "; is a firewall between the nodes? GLOO_SOCKET_IFNAME chooses the "
                             "network");
    }
    PeerWatchSettings watch;
    watch.rank = env.rank;
    watch.size = env.world_size;
    watch.timeout = timeout_;
    watch.timeout_setting = settings.timeout_setting;
    watch.serves_store = env.rank == 0 && !env.store_is_launchers;
    watch.store_is_launchers = env.store_is_launchers;
    watch.store_address = store_address(env);
    watch.names = std::move(names);
    watch.on_stuck = settings.on_stuck;
    // NCCL's kernels wait on the device, where no exception reaches them.
    if (nccl_) {
      watch.on_failure = [nccl = nccl_] {
        try {
          nccl->abort();
        } catch (const std::exception&) {
          // The group has failed already, and its cause is what gets told.
        }
      };
    }
    store_ = store;
    watch_ = std::make_unique<PeerWatch>(prefixed(own_connection, ""), std::move(watch));
  }

  ~ProcessGroupCommunicator() override {
    watch_.reset();
    if (!is_broken_) {
      if (nccl_) shut_down_nccl();
      return;
    }
    // The destructors of the backends join threads that wait for a peer that will not answer: the
    // process is about to end, so they are left alone.
    (void)gloo_.release();
    (void)nccl_.release();
    (void)store_.release();
  }

  std::int64_t rank() const override { return env_.rank; }
  std::int64_t size() const override { return env_.world_size; }
  std::int64_t local_rank() const override { return env_.local_rank; }

  void sum(torch::Tensor& values) override {
    torch::Tensor whole = values.contiguous();
    start_sum(whole)->wait();
    if (!whole.is_same(values)) values.copy_(whole);
  }

  void sum(std::vector<std::int64_t>& values) override {
    if (values.empty()) return;
    torch::Tensor tensor = torch::tensor(values, torch::kInt64);
    start_sum(tensor)->wait();
    const auto* begin = tensor.const_data_ptr<std::int64_t>();
    std::copy(begin, begin + values.size(), values.begin());
  }

  std::unique_ptr<PendingSum> start_sum(torch::Tensor values) override {
    const torch::NoGradGuard no_grad;
    std::vector<torch::Tensor> tensors = {values.detach()};
    return std::make_unique<StartedSum>(
        *this, start("sum", [&] { return backend(values).allreduce(tensors); }), values);
  }

  std::vector<std::string> gather(const std::string& bytes) override {
    const auto world = static_cast<std::size_t>(size());
    std::vector<std::int64_t> lengths(world, 0);
    lengths[static_cast<std::size_t>(rank())] = static_cast<std::int64_t>(bytes.size());
    sum(lengths);
    const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
    std::vector<std::string> all(world);
    if (longest == 0) return all;
    std::vector<torch::Tensor> own = {torch::zeros({longest}, torch::kUInt8)};
    std::memcpy(own[0].mutable_data_ptr(), bytes.data(), bytes.size());
    std::vector<std::vector<torch::Tensor>> received(1);
    for (std::size_t r = 0; r < world; ++r)
      received[0].push_back(torch::empty({longest}, torch::kUInt8));
    wait(start("gather", [&] { return gloo_->allgather(received, own); }), "gather");
    for (std::size_t r = 0; r < world; ++r) {
      all[r].assign(static_cast<const char*>(received[0][r].const_data_ptr()),
                    static_cast<std::size_t>(lengths[r]));
    }
    return all;
  }

  void barrier() override {
    std::vector<std::int64_t> count = {1};
    sum(count);
  }

  void set_step(std::int64_t step) override { watch_->set_step(step); }

  void announce_failure(const std::string& cause) override {
    is_broken_ = true;
    watch_->announce(cause);
    watch_->let_others_know();
  }

  void leave() override {
    // First: whoever passes the barrier may end and take its store along.
    watch_->leave();
    barrier();
  }

 private:
  class StartedSum final : public PendingSum {
   public:
    StartedSum(ProcessGroupCommunicator& owner, WorkPtr work, torch::Tensor values)
        : owner_(owner), work_(std::move(work)), values_(std::move(values)) {}
    void wait() override {
      if (values_.is_cuda()) {
        owner_.wait_for_device(work_, "sum");
      } else {
        owner_.wait(work_, "sum");
      }
    }

   private:
    ProcessGroupCommunicator& owner_;
    WorkPtr work_;
    torch::Tensor values_;
  };

  void make_nccl(const StorePtr& store) {
#ifdef USE_C10D_NCCL
    c10::cuda::set_device(static_cast<c10::DeviceIndex>(env_.local_rank));
    // NCCL's own watchdog would end the process without a word of the cause; the group's watch
    // aborts what waits, and the rank that waited says why.
    ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", /*overwrite=*/0);
    auto options = c10d::ProcessGroupNCCL::Options::create();
    options->timeout = 2 * timeout_ + milliseconds(5000);
    nccl_ = c10::make_intrusive<c10d::ProcessGroupNCCL>(store, static_cast<int>(env_.rank),
                                                        static_cast<int>(env_.world_size), options);
#else
    (void)store;
    throw ConfigError(
        "NCCL was not compiled in (configure with -DCLARA_WITH_CUDA=ON, preset cuda); use "
        "model.device: cpu");
#endif
  }

  void shut_down_nccl() {
    try {
      nccl_->shutdown();
    } catch (const std::exception&) {
      // All ranks have left: nothing depends on it any more.
    }
  }

  c10d::Backend& backend(const torch::Tensor& values) const {
    if (!values.is_cuda()) return *gloo_;
    if (!nccl_) throw Error("a tensor on a CUDA device in a group without NCCL");
    return *nccl_;
  }

  void check_alive() {
    if (const auto failure = watch_->failure()) fail(*failure);
  }

  [[noreturn]] void fail(const std::string& cause) {
    if (!is_broken_) watch_->let_others_know();
    is_broken_ = true;
    throw DistributedError(cause);
  }

  template <class Start>
  WorkPtr start(const char* what, Start begin) {
    check_alive();
    watch_->count_collective();
    try {
      return begin();
    } catch (const std::exception& error) {
      fail(watch_->explain_break(what, first_line(error.what())));
    }
  }

  void wait(const WorkPtr& work, const char* what) {
    // NOLINTNEXTLINE(clang-analyzer-deadcode.DeadStores): read when a slice is over
    const Clock::time_point begin = Clock::now();
    for (;;) {
      try {
        work->wait(kWaitSlice);
        return;
      } catch (const std::exception& error) {
        // Either the slice is over or the work has failed; only its own state tells.
        if (work->isCompleted()) {
          if (work->isSuccess()) return;
          fail(watch_->explain_break(what, first_line(error.what())));
        }
      }
      check_alive();
      if (Clock::now() - begin > timeout_) fail(watch_->explain_delay(what));
    }
  }

  /// Work on a device only orders streams when it is waited for, and a dead peer would then be met
  /// wherever the host next reads a value, without a limit: so the host asks until it is done. The
  /// trainer waits for sums where it is about to read the step's losses anyway.
  void wait_for_device(const WorkPtr& work, const char* what) {
    RECORD_USER_SCOPE(kHostWait);
    const Clock::time_point begin = Clock::now();
    std::chrono::microseconds pause(20);
    try {
      while (!work->isCompleted()) {
        check_alive();
        if (Clock::now() - begin > timeout_) fail(watch_->explain_delay(what));
        std::this_thread::sleep_for(pause);
        pause = std::min(2 * pause, std::chrono::microseconds(500));
      }
      check_alive();  // an aborted sum is completed too
      work->wait();
    } catch (const DistributedError&) {
      throw;
    } catch (const std::exception& error) {
      fail(watch_->explain_break(what, first_line(error.what())));
    }
  }

  LaunchEnv env_;
  milliseconds timeout_;
  StorePtr store_;
  BackendPtr gloo_, nccl_;
  std::unique_ptr<PeerWatch> watch_;
  bool is_broken_ = false;
};

}  // namespace

std::unique_ptr<Communicator> join_group(const LaunchEnv& env, const GroupSettings& settings) {
  if (env.world_size == 1) return std::make_unique<SingleProcessCommunicator>();
  return std::make_unique<ProcessGroupCommunicator>(env, settings);
}

}  // namespace clara
