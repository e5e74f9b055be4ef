// Several HTTP requests at a time from one thread (libcurl's multi interface).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace clara {

struct HttpSettings {
  std::string url;
  std::string authorization;  ///< value of that header; empty = none
  std::size_t max_connections = 8;
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{300'000};  ///< of a whole request
  std::size_t max_response_bytes = std::size_t{4} << 20;
};

struct HttpResponse {
  enum class Failure {
    kNone,       ///< `status` and the body came whole
    kUnreached,  ///< no connection was made
    kTimeout,
    kBroken,    ///< the connection ended before the response did, or the response was no HTTP
    kTooLarge,  ///< over max_response_bytes
    kUnusable,  ///< no such protocol, a certificate that is not trusted, …: it will never work
  };
  std::uint64_t id = 0;
  Failure failure = Failure::kNone;
  std::string failure_text;
  long status = 0;
  std::string content_type;
  std::string body;
  std::string redirect;  ///< where a 3xx pointed to; it is not followed
  std::chrono::seconds retry_after{0};
};

/// POSTs JSON to one URL over connections that are kept open.
class HttpTransfers {
 public:
  /// Throws ConfigError for a URL that is none.
  explicit HttpTransfers(const HttpSettings& settings);
  HttpTransfers(const HttpTransfers&) = delete;
  HttpTransfers& operator=(const HttpTransfers&) = delete;
  ~HttpTransfers();

  /// Starts a request; `id` comes back with its response.
  void post(std::uint64_t id, std::string body);
  /// Moves data for at most `wait`; returns as soon as a response is there.
  std::vector<HttpResponse> poll(std::chrono::milliseconds wait);
  std::size_t num_active() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace clara
