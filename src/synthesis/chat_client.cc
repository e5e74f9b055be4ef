// The queue of requests: when each is sent, and sent again.
#include "clara/synthesis/chat_client.h"

#include <algorithm>
#include <deque>
#include <optional>
#include <random>
#include <unordered_map>
#include <utility>

#include "synthesis/chat_protocol.h"
#include "synthesis/http_transfers.h"

#include "clara/common/error.h"
#include "clara/common/seeds.h"
#include "clara/synthesis/server_error.h"

namespace clara {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kMaxRetryAfter{600};
constexpr milliseconds kLongPause{5'000};  // a person is told of longer ones

std::string completions_url(std::string base) {
  const std::size_t scheme = base.find("://");
  if (scheme != std::string::npos &&
      base.substr(scheme + 3, base.find('/', scheme + 3) - scheme - 3).find('@') !=
          std::string::npos) {
    throw ConfigError(
        "expected a base URL without user and password (give a key by an environment variable or "
        "a file), found one with them");
  }
  if (base.find_first_of("?#") != std::string::npos)
    throw ConfigError("expected a base URL without ? and #, found \"" + base + "\"");
  while (!base.empty() && base.back() == '/') base.pop_back();
  constexpr std::string_view kPath = "/chat/completions";
  return base.ends_with(kPath) ? base : base + std::string(kPath);
}

HttpSettings http_settings(const ChatSettings& settings, const ApiKey& key) {
  HttpSettings http;
  http.url = completions_url(settings.base_url);
  http.authorization = key.authorization();
  http.max_connections = settings.concurrency;
  http.connect_timeout = settings.connect_timeout;
  http.timeout = settings.timeout;
  http.max_response_bytes = settings.max_response_bytes;
  return http;
}

// A request from submit() to its reply.
struct OpenRequest {
  ChatRequest request;
  std::int64_t num_failures = 0;
  ChatDialect sent;
};

struct DelayedRequest {
  std::uint64_t id;
  Clock::time_point when;
};

}  // namespace

std::string to_string(ResponseFormat format) {
  switch (format) {
    case ResponseFormat::kJsonSchema:
      return "json_schema";
    case ResponseFormat::kJsonObjectSchema:
      return "json_object_schema";
    case ResponseFormat::kJsonObject:
      return "json_object";
    default:
      return "text";
  }
}

ResponseFormat parse_response_format(std::string_view name) {
  for (const ResponseFormat format :
       {ResponseFormat::kJsonSchema, ResponseFormat::kJsonObjectSchema, ResponseFormat::kJsonObject,
        ResponseFormat::kText}) {
    if (to_string(format) == name) return format;
  }
  throw ConfigError(
      "expected a response format of json_schema, json_object_schema, json_object or text, found "
      "\"" +
      std::string(name) + "\"");
}

class ChatClient::Exchange {
 public:
  Exchange(ChatSettings settings, ApiKey key, std::function<void(const std::string&)> notify)
      : settings_(std::move(settings)),
        key_(std::move(key)),
        notify_(std::move(notify)),
        transfers_(http_settings(settings_, key_)),
        random_(std::random_device{}()) {
    if (settings_.model.empty()) throw ConfigError("expected the name of a model, found none");
    dialect_.format = settings_.response_format;
  }

  void submit(std::uint64_t id, ChatRequest request) {
    if (!open_.emplace(id, OpenRequest{std::move(request), 0, {}}).second)
      throw Error("expected a request of another number than the open ones");
    ready_.push_back(id);
  }

  std::vector<ChatReply> poll(milliseconds wait) {
    if (fatal_) throw ServerError(*fatal_);
    const Clock::time_point end = Clock::now() + wait;
    std::vector<ChatReply> replies;
    do {
      send_due();
      const Clock::time_point until = std::max(std::min(end, next_due()), Clock::now());
      const auto pause = std::chrono::ceil<milliseconds>(until - Clock::now());
      for (const HttpResponse& response : transfers_.poll(pause)) read(response, replies);
    } while (replies.empty() && !fatal_ && Clock::now() < end && !open_.empty());
    // What was answered is handed out before the error is.
    if (fatal_ && replies.empty()) throw ServerError(*fatal_);
    return replies;
  }

  std::size_t num_open() const { return open_.size(); }
  const ChatStatistics& statistics() const { return statistics_; }
  ResponseFormat response_format() const { return dialect_.format; }

 private:
  void send_due() {
    const Clock::time_point now = Clock::now();
    for (auto delayed = delayed_.begin(); delayed != delayed_.end();) {
      if (delayed->when > now) {
        ++delayed;
        continue;
      }
      ready_.push_back(delayed->id);
      delayed = delayed_.erase(delayed);
    }
    while (!ready_.empty() && now >= paused_until_ &&
           transfers_.num_active() < settings_.concurrency) {
      const std::uint64_t id = ready_.front();
      ready_.pop_front();
      OpenRequest& open = open_.at(id);
      open.sent = dialect_;
      transfers_.post(id, chat_request_body(open.request, settings_.model, dialect_));
      ++statistics_.num_requests;
    }
  }

  // When send_due() may have something to do.
  Clock::time_point next_due() const {
    Clock::time_point due = Clock::time_point::max();
    for (const DelayedRequest& delayed : delayed_) due = std::min(due, delayed.when);
    if (!ready_.empty() && paused_until_ > Clock::now()) due = std::min(due, paused_until_);
    return due;
  }

  void read(const HttpResponse& response, std::vector<ChatReply>& replies) {
    const std::uint64_t id = response.id;
    OpenRequest& open = open_.at(id);
    ChatOutcome outcome = read_chat_response(response, open.sent, settings_.adapts_response_format);
    outcome.message = key_.hide(outcome.message);
    switch (outcome.kind) {
      case ChatOutcome::Kind::kAnswered:
        num_failures_in_a_row_ = 0;
        has_answer_ = true;
        reply(std::move(outcome.answer), id, replies);
        break;
      case ChatOutcome::Kind::kAdapt:
        adapt(outcome, open.sent);
        ready_.push_front(id);
        break;
      case ChatOutcome::Kind::kRetry:
        retry(open, outcome, response, replies);
        break;
      case ChatOutcome::Kind::kRefused:
        give_up(id, ChatReply::Status::kRefused, outcome, replies);
        break;
      case ChatOutcome::Kind::kFatal:
        stop(outcome.message);
        break;
    }
  }

  void reply(ChatReply answer, std::uint64_t id, std::vector<ChatReply>& replies) {
    answer.id = id;
    answer.text = key_.hide(answer.text);
    replies.push_back(std::move(answer));
    open_.erase(id);
  }

  void adapt(const ChatOutcome& outcome, const ChatDialect& sent) {
    // Requests that were under way when the first refusal came are refused too; they need only be
    // put anew.
    if (dialect_ != sent) return;
    dialect_ = outcome.dialect;
    if (dialect_.format != sent.format) {
      tell("the server does not take response_format " + to_string(sent.format) +
           "; going on with " + to_string(dialect_.format) + " (" + outcome.message + ")");
    } else {
      tell("the server does not take a parameter; going on without it (" + outcome.message + ")");
    }
  }

  void retry(OpenRequest& open, const ChatOutcome& outcome, const HttpResponse& response,
             std::vector<ChatReply>& replies) {
    ++open.num_failures;
    if (open.num_failures > settings_.max_retries) {
      give_up(response.id, ChatReply::Status::kFailed, outcome, replies);
      return;
    }
    ++statistics_.retries[outcome.reason];
    milliseconds pause = back_off(open.num_failures);
    if (response.retry_after.count() > 0) {
      const milliseconds asked = std::min(response.retry_after, kMaxRetryAfter);
      pause = std::max(pause, asked);
      const Clock::time_point until = Clock::now() + asked;
      if (until > paused_until_ + kLongPause && asked > kLongPause)
        tell("the server asks to wait " + std::to_string(asked.count() / 1000) + " s (" +
             outcome.message + ")");
      paused_until_ = std::max(paused_until_, until);
    }
    delayed_.push_back({response.id, Clock::now() + pause});
  }

  milliseconds back_off(std::int64_t num_failures) {
    double pause = static_cast<double>(settings_.back_off.count());
    const auto most = static_cast<double>(settings_.max_back_off.count());
    for (std::int64_t i = 1; i < num_failures && pause < most; ++i) pause *= 2;
    constexpr std::uint64_t kSteps = 1000;
    const double jitter =
        0.5 + 0.5 * static_cast<double>(random_.below(kSteps)) / static_cast<double>(kSteps);
    return milliseconds(static_cast<std::int64_t>(std::min(pause, most) * jitter));
  }

  void give_up(std::uint64_t id, ChatReply::Status status, const ChatOutcome& outcome,
               std::vector<ChatReply>& replies) {
    ChatReply failure;
    failure.status = status;
    failure.reason = outcome.reason;
    failure.message = outcome.message;
    reply(std::move(failure), id, replies);
    if (++num_failures_in_a_row_ < settings_.max_failures_in_a_row) return;
    stop(std::to_string(num_failures_in_a_row_) +
         " requests in a row got no answer; the last: " + outcome.message);
  }

  void stop(const std::string& why) {
    if (fatal_) return;
    fatal_ = settings_.base_url + ": model " + settings_.model + ": " + why +
             (has_answer_ ? "" : " (no request was answered before)");
  }

  void tell(const std::string& message) const {
    if (notify_) notify_(message);
  }

  ChatSettings settings_;
  ApiKey key_;
  std::function<void(const std::string&)> notify_;
  HttpTransfers transfers_;
  SeedStream random_;
  ChatDialect dialect_;
  std::unordered_map<std::uint64_t, OpenRequest> open_;
  std::deque<std::uint64_t> ready_;
  std::vector<DelayedRequest> delayed_;
  Clock::time_point paused_until_ = Clock::time_point::min();
  std::size_t num_failures_in_a_row_ = 0;
  bool has_answer_ = false;
  std::optional<std::string> fatal_;
  ChatStatistics statistics_;
};

ChatClient::ChatClient(ChatSettings settings, ApiKey key,
                       std::function<void(const std::string&)> notify)
    : exchange_(
          std::make_unique<Exchange>(std::move(settings), std::move(key), std::move(notify))) {}
ChatClient::~ChatClient() = default;

void ChatClient::submit(std::uint64_t id, ChatRequest request) {
  exchange_->submit(id, std::move(request));
}
std::vector<ChatReply> ChatClient::poll(milliseconds wait) { return exchange_->poll(wait); }
std::size_t ChatClient::num_open() const { return exchange_->num_open(); }
const ChatStatistics& ChatClient::statistics() const { return exchange_->statistics(); }
ResponseFormat ChatClient::response_format() const { return exchange_->response_format(); }

}  // namespace clara
