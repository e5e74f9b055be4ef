// Only one thread talks to the store: a dead server may never answer, and then nobody else may
// hang.
#include "parallel/peer_watch.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdio>
#include <exception>
#include <mutex>
#include <sstream>

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* kFailureKey = "failure";
// Between heartbeats once the group has failed.
constexpr milliseconds kFailureInterval(50);

double seconds_between(Clock::time_point begin, Clock::time_point end) {
  return std::chrono::duration<double>(end - begin).count();
}

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

std::string step_text(std::int64_t step) {
  return step > 0 ? "at step " + std::to_string(step) : "before its first step";
}

/// What is known of another rank.
struct Peer {
  std::string last_value;
  Clock::time_point changed = Clock::now();
  std::int64_t step = 0;
  std::int64_t collectives = 0;
  bool has_left = false;
};

}  // namespace

std::string heartbeat_key(std::int64_t rank) { return "heartbeat/" + std::to_string(rank); }
std::string first_heartbeat() { return "0 0 0 0"; }

/// Shared with the threads, so that one that is stuck in the store can be left behind.
struct PeerWatch::State {
  PeerWatchSettings settings;
  milliseconds interval{1000};
  c10::intrusive_ptr<c10d::Store> store;
  std::atomic<std::int64_t> step{0}, collectives{0};
  std::atomic<bool> has_failed{false};

  mutable std::mutex mutex;
  std::condition_variable changed;
  bool stop = false;
  bool leaving = false;
  std::string outgoing;  ///< a cause that the store does not know yet
  std::string failure;
  Clock::time_point failed_at;
  Clock::time_point last_answer = Clock::now();
  std::vector<Peer> peers;

  /// Steps go in lockstep, and a heartbeat may be older than this rank's own step.
  std::string step_of(const Peer& peer) const {
    return step_text(std::max(peer.step, step.load()));
  }

  /// A store that does not answer is a dead owner.
  std::string without_store(const std::string& reason) const {
    return (settings.store_is_launchers ? "the launcher" : settings.names[0]) +
           " died or was cut off " + step_text(step) + ": the store that it serves at " +
           settings.store_address + " is gone (" + reason + ")";
  }

  /// With the mutex held; the first cause stays.
  void fail(const std::string& cause) {
    if (has_failed) return;
    failure = cause;
    failed_at = Clock::now();
    has_failed = true;
    changed.notify_all();
  }
};

PeerWatch::PeerWatch(c10::intrusive_ptr<c10d::Store> store, PeerWatchSettings settings)
    : state_(std::make_shared<State>()) {
  state_->interval = std::clamp(settings.timeout / 20, milliseconds(50), milliseconds(1000));
  state_->peers.resize(static_cast<std::size_t>(settings.size));
  state_->settings = std::move(settings);
  state_->store = std::move(store);
  beat_thread_ = std::thread([state = state_] { beat(state); });
  guard_thread_ = std::thread([state = state_] { guard(state); });
}

PeerWatch::~PeerWatch() {
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_all();
  guard_thread_.join();
  // What it holds must not end with the thread that may be left behind.
  state_->settings.on_failure = nullptr;
  beat_thread_.detach();
}

void PeerWatch::set_step(std::int64_t step) { state_->step = step; }
void PeerWatch::count_collective() { ++state_->collectives; }

std::optional<std::string> PeerWatch::failure() const {
  if (!state_->has_failed) return std::nullopt;
  const std::lock_guard<std::mutex> lock(state_->mutex);
  return state_->failure;
}

void PeerWatch::announce(const std::string& cause) {
  report(state_->settings.names[static_cast<std::size_t>(state_->settings.rank)] + " stopped " +
         step_text(state_->step) + ": " + cause);
}

std::string PeerWatch::report(const std::string& cause) {
  std::unique_lock<std::mutex> lock(state_->mutex);
  if (state_->has_failed) return state_->failure;
  state_->outgoing = cause;
  state_->changed.notify_all();
  // The store decides whose cause counts; where it is silent this rank's own does.
  state_->changed.wait_for(lock, 2 * state_->interval + milliseconds(500),
                           [&] { return state_->has_failed.load(); });
  state_->fail(cause);
  return state_->failure;
}

std::string PeerWatch::explain_break(const std::string& what, const std::string& reason) {
  const Clock::time_point broke = Clock::now();
  std::unique_lock<std::mutex> lock(state_->mutex);
  // A rank that stopped by itself has said why or is about to; a dead one misses its heartbeats.
  state_->changed.wait_for(lock, 3 * state_->interval + milliseconds(500),
                           [&] { return state_->has_failed.load(); });
  if (state_->has_failed) return state_->failure;
  const Clock::time_point now = Clock::now();
  const std::size_t own = static_cast<std::size_t>(state_->settings.rank);
  std::size_t silent = own;
  for (std::size_t r = 0; r < state_->peers.size(); ++r) {
    if (r == own || state_->peers[r].has_left) continue;
    if (silent == own || state_->peers[r].changed < state_->peers[silent].changed) silent = r;
  }
  std::string cause;
  if (silent != own && state_->peers[silent].changed < broke + state_->interval) {
    const Peer& peer = state_->peers[silent];
    cause = state_->settings.names[silent] + " died or was cut off " + state_->step_of(peer) +
            ": no sign of life for " + seconds_text(seconds_between(peer.changed, now));
  } else {
    cause = state_->settings.names[own] + " lost a connection in the " + what + " " +
            step_text(state_->step) + ": " + reason;
  }
  lock.unlock();
  return report(cause);
}

std::string PeerWatch::explain_delay(const std::string& what) {
  std::string cause;
  {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    if (state_->has_failed) return state_->failure;
    const auto own = static_cast<std::size_t>(state_->settings.rank);
    const Clock::time_point now = Clock::now();
    const milliseconds silence = 3 * state_->interval + milliseconds(500);
    std::size_t late = own, silent = own;
    for (std::size_t r = 0; r < state_->peers.size(); ++r) {
      const Peer& peer = state_->peers[r];
      // A peer that stands still inside the collective has counted it already.
      if (r != own && !peer.has_left && now - peer.changed > silence &&
          now - state_->last_answer < silence &&
          (silent == own || peer.changed < state_->peers[silent].changed))
        silent = r;
    }
    for (std::size_t r = 0; r < state_->peers.size(); ++r) {
      const std::int64_t reached =
          late == own ? state_->collectives.load() : state_->peers[late].collectives;
      if (r != own && state_->peers[r].collectives < reached) late = r;
    }
    const std::string limit =
        seconds_text(std::chrono::duration<double>(state_->settings.timeout).count()) + " (" +
        state_->settings.timeout_setting + ")";
    cause = silent != own ? state_->settings.names[silent] + " died, hangs or was cut off " +
                                state_->step_of(state_->peers[silent]) + ": no sign of life for " +
                                seconds_text(seconds_between(state_->peers[silent].changed, now))
            : late != own
                ? state_->settings.names[late] + " hangs " + state_->step_of(state_->peers[late]) +
                      ": it is alive but did not come to the " + what + " within " + limit
                : state_->settings.names[own] + " hangs in the " + what + " " +
                      step_text(state_->step) + ": it did not end within " + limit;
  }
  return report(cause);
}

void PeerWatch::let_others_know() {
  if (!state_->settings.serves_store) return;
  std::unique_lock<std::mutex> lock(state_->mutex);
  const Clock::time_point now = Clock::now();
  state_->changed.wait_for(lock, 2 * state_->interval + milliseconds(500), [&] {
    for (std::size_t r = 0; r < state_->peers.size(); ++r) {
      const Peer& peer = state_->peers[r];
      const bool is_alive = now - peer.changed < 2 * state_->interval;
      if (static_cast<std::int64_t>(r) != state_->settings.rank && is_alive && !peer.has_left)
        return false;
    }
    return true;
  });
}

void PeerWatch::leave() {
  const std::lock_guard<std::mutex> lock(state_->mutex);
  state_->leaving = true;
  state_->changed.notify_all();
}

void PeerWatch::beat(const std::shared_ptr<State>& state) {
  const PeerWatchSettings& settings = state->settings;
  std::vector<std::string> keys;
  for (std::int64_t r = 0; r < settings.size; ++r) keys.push_back(heartbeat_key(r));
  for (std::int64_t count = 1;; ++count) {
    std::string outgoing;
    bool leaving = false;
    {
      const std::lock_guard<std::mutex> lock(state->mutex);
      if (state->stop) return;
      outgoing = state->outgoing;
      leaving = state->leaving;
    }
    try {
      std::ostringstream own;
      own << count << ' ' << state->step << ' ' << state->collectives << ' ';
      state->store->set(heartbeat_key(settings.rank), own.str() + (leaving ? "1" : "0"));
      const std::vector<std::vector<std::uint8_t>> values = state->store->multiGet(keys);
      std::string failure;
      if (!outgoing.empty()) {
        failure = state->store->compareSet(kFailureKey, std::string(), outgoing);
      } else if (state->store->check({kFailureKey})) {
        failure = state->store->get_to_str(kFailureKey);
      }
      // Whoever knows of a failure is about to leave, and may be forgotten.
      if (!failure.empty()) state->store->set(heartbeat_key(settings.rank), own.str() + "1");
      const std::lock_guard<std::mutex> lock(state->mutex);
      const Clock::time_point now = Clock::now();
      state->last_answer = now;
      for (std::size_t r = 0; r < values.size(); ++r) {
        Peer& peer = state->peers[r];
        std::string value(values[r].begin(), values[r].end());
        if (value == peer.last_value) continue;
        std::int64_t number = 0;
        std::istringstream(value) >> number >> peer.step >> peer.collectives >> peer.has_left;
        peer.last_value = std::move(value);
        peer.changed = now;
      }
      if (!failure.empty()) state->fail(failure);
      if (state->has_failed) state->changed.notify_all();
    } catch (const std::exception& error) {
      const std::lock_guard<std::mutex> lock(state->mutex);
      if (!state->leaving && !state->stop) {
        std::string reason = error.what();
        reason = reason.substr(0, reason.find('\n'));
        state->fail(state->without_store(reason));
      }
      return;
    }
    std::unique_lock<std::mutex> lock(state->mutex);
    const milliseconds pause =
        state->has_failed ? std::min(state->interval, kFailureInterval) : state->interval;
    state->changed.wait_for(lock, pause, [&] {
      return state->stop || (!state->outgoing.empty() && !state->has_failed);
    });
  }
}

void PeerWatch::guard(const std::shared_ptr<State>& state) {
  const PeerWatchSettings& settings = state->settings;
  bool told_failure = false, told_stuck = false;
  std::unique_lock<std::mutex> lock(state->mutex);
  while (!state->stop) {
    const Clock::time_point now = Clock::now();
    if (!state->has_failed && !state->leaving) {
      if (now - state->last_answer > settings.timeout) {
        state->fail(state->without_store("no answer for " +
                                         seconds_text(seconds_between(state->last_answer, now))));
      }
      for (std::size_t r = 0; r < state->peers.size(); ++r) {
        const Peer& peer = state->peers[r];
        if (static_cast<std::int64_t>(r) == settings.rank || peer.has_left) continue;
        // Silence of the store itself is the case above.
        if (now - peer.changed > settings.timeout &&
            now - state->last_answer < settings.timeout / 2) {
          state->fail(settings.names[r] + " died, hangs or was cut off " + state->step_of(peer) +
                      ": no sign of life for " + seconds_text(seconds_between(peer.changed, now)));
        }
      }
    }
    if (state->has_failed && !told_failure) {
      told_failure = true;
      if (settings.on_failure) {
        lock.unlock();
        settings.on_failure();
        lock.lock();
      }
    }
    if (state->has_failed && !told_stuck && now - state->failed_at > settings.timeout) {
      told_stuck = true;
      if (settings.on_stuck) {
        const std::string cause = state->failure;
        lock.unlock();
        settings.on_stuck(cause);
        lock.lock();
      }
    }
    state->changed.wait_for(lock, state->interval, [&] { return state->stop; });
  }
}

}  // namespace clara
