// The OpenAI-compatible protocol of /v1/chat/completions: what is sent, and what came back of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "synthesis/http_transfers.h"

#include "clara/synthesis/chat_client.h"

namespace clara {

/// What this server understands, learnt from its refusals.
struct ChatDialect {
  ResponseFormat format = ResponseFormat::kJsonSchema;
  bool says_max_completion_tokens = false;  ///< instead of max_tokens
  bool sends_temperature = true;
  bool sends_seed = true;
  friend bool operator==(const ChatDialect&, const ChatDialect&) = default;
};

std::string chat_request_body(const ChatRequest& request, const std::string& model,
                              const ChatDialect& dialect);

/// What a response means.
struct ChatOutcome {
  enum class Kind {
    kAnswered,
    kRetry,    ///< later, the same again
    kAdapt,    ///< at once, in `dialect`
    kRefused,  ///< this request will never be answered
    kFatal,    ///< no request will be answered
  };
  Kind kind = Kind::kRetry;
  std::string reason;   ///< for counts: "HTTP 500", "timeout", "no JSON"
  std::string message;  ///< one line for a person
  ChatReply answer;     ///< kAnswered: text, finish_reason, usage
  ChatDialect dialect;  ///< kAdapt
};

/// `sent`: how the request was put; `allows_adapting`: the format of answers may be changed.
ChatOutcome read_chat_response(const HttpResponse& response, const ChatDialect& sent,
                               bool allows_adapting);

}  // namespace clara
