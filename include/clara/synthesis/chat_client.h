// A client of OpenAI-compatible chat servers: many requests at a time, retries, one thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "clara/synthesis/api_key.h"

namespace clara {

/// How an answer is tied to JSON, the strictest first. A server that refuses one is asked in the
/// next.
enum class ResponseFormat {
  kJsonSchema,        ///< response_format json_schema (OpenAI, vLLM, llama.cpp)
  kJsonObjectSchema,  ///< json_object with a `schema` beside it (llama-cpp-python)
  kJsonObject,        ///< json_object
  kText,              ///< no response_format
};
std::string to_string(ResponseFormat format);
/// Of json_schema, json_object_schema, json_object, text. Throws ConfigError.
ResponseFormat parse_response_format(std::string_view name);

struct ChatSettings {
  std::string base_url;  ///< as other clients take it, "http://127.0.0.1:8000/v1"
  std::string model;
  std::size_t concurrency = 8;  ///< requests at a time
  std::chrono::milliseconds connect_timeout{10'000};
  std::chrono::milliseconds timeout{300'000};  ///< of one request
  std::size_t max_response_bytes = std::size_t{4} << 20;
  std::int64_t max_retries = 8;
  /// Pause before the first retry, doubled for each further one, times a random number from a half
  /// to one. A Retry-After of the server is kept to (up to ten minutes) by all requests.
  std::chrono::milliseconds back_off{1'000};
  std::chrono::milliseconds max_back_off{60'000};
  ResponseFormat response_format = ResponseFormat::kJsonSchema;
  bool adapts_response_format = true;
  /// After so many requests in a row without an answer, all retries included, poll() throws.
  std::size_t max_failures_in_a_row = 20;
};

struct ChatRequest {
  std::string system;  ///< empty: no system message
  std::string user;
  std::string schema_name;
  std::string schema;  ///< JSON schema of the answer
  double temperature = 0;
  std::uint64_t seed = 0;  ///< sent modulo 2^31
  std::int64_t max_tokens = 1024;
};

struct ChatUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t completion_tokens = 0;
};

struct ChatReply {
  enum class Status {
    kAnswered,
    kRefused,  ///< for good: too long for the model, for example
    kFailed,   ///< the server was in trouble, all retries through
  };
  std::uint64_t id = 0;
  Status status = Status::kAnswered;
  std::string text;
  std::string finish_reason;  ///< "stop", "length", …
  ChatUsage usage;
  std::string reason;   ///< kRefused, kFailed: a short name for counts, "HTTP 400"
  std::string message;  ///< and one line for a person
};

/// What happened so far.
struct ChatStatistics {
  std::int64_t num_requests = 0;                ///< sent, retries included
  std::map<std::string, std::int64_t> retries;  ///< by reason
};

class ChatClient {
 public:
  /// `notify` gets a line for a person when the client adapts or waits. Throws ConfigError: a base
  /// URL that is none, or has a user or password in it; an empty model.
  ChatClient(ChatSettings settings, ApiKey key,
             std::function<void(const std::string&)> notify = nullptr);
  ChatClient(const ChatClient&) = delete;
  ChatClient& operator=(const ChatClient&) = delete;
  ~ChatClient();

  /// Takes a request; it is sent by poll().
  void submit(std::uint64_t id, ChatRequest request);
  /// Sends and receives for at most `wait`; returns early with replies. Throws ServerError when no
  /// request can succeed: a wrong key (401, 403), an unknown path or model (404), a redirect, a
  /// spent quota, a server that is not there.
  std::vector<ChatReply> poll(std::chrono::milliseconds wait);

  /// Requests that were submitted and not replied to.
  std::size_t num_open() const;
  const ChatStatistics& statistics() const;
  ResponseFormat response_format() const;

 private:
  class Exchange;
  std::unique_ptr<Exchange> exchange_;
};

}  // namespace clara
