// Heartbeats of all ranks through the store, and what is known about a failure of one of them.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <torch/csrc/distributed/c10d/Store.hpp>

namespace clara {

struct PeerWatchSettings {
  std::int64_t rank = 0;
  std::int64_t size = 1;
  std::chrono::milliseconds timeout{300000};
  std::string timeout_setting;      ///< what a user calls it
  bool serves_store = false;        ///< the store ends with this process
  bool store_is_launchers = false;  ///< else it ends with rank 0
  std::string store_address;        ///< host:port
  std::vector<std::string> names;   ///< of the ranks: "rank 2 of 8 (process 77 on node3)"
  /// Once, from a background thread, soon after a failure is known: aborts what waits on a device.
  std::function<void()> on_failure;
  std::function<void(const std::string&)> on_stuck;  ///< see GroupSettings
};

/// The key of a rank's heartbeat; every rank must have set its own before any watch starts.
std::string heartbeat_key(std::int64_t rank);
std::string first_heartbeat();

/// Two threads: one talks to the store (and may be stuck in that), one watches over the times.
class PeerWatch {
 public:
  /// `store`: a connection of its own.
  PeerWatch(c10::intrusive_ptr<c10d::Store> store, PeerWatchSettings settings);
  PeerWatch(const PeerWatch&) = delete;
  PeerWatch& operator=(const PeerWatch&) = delete;
  /// Does not wait for the store.
  ~PeerWatch();

  void set_step(std::int64_t step);
  /// This rank has come to its next collective.
  void count_collective();

  /// The cause of the group's failure, if there is one.
  std::optional<std::string> failure() const;
  /// "<this rank> stopped at step 17: `cause`" becomes the group's failure.
  void announce(const std::string& cause);
  /// Makes `cause` the group's failure, unless there is one already; returns the one that counts.
  std::string report(const std::string& cause);
  /// A collective broke off: looks a moment for who is to blame, and reports it.
  std::string explain_break(const std::string& what, const std::string& reason);
  /// A collective took too long: names the rank that did not come, and reports it.
  std::string explain_delay(const std::string& what);
  /// Where this process serves the store: waits a moment until the living ranks know the failure,
  /// for they could not read it afterwards.
  void let_others_know();
  /// From now on a silent store is no failure.
  void leave();

 private:
  struct State;
  static void beat(const std::shared_ptr<State>& state);
  static void guard(const std::shared_ptr<State>& state);

  std::shared_ptr<State> state_;
  std::thread beat_thread_, guard_thread_;
};

}  // namespace clara
