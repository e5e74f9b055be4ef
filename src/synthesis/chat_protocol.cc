// Requests as JSON; responses by status, then by content.
#include "synthesis/chat_protocol.h"

#include <algorithm>
#include <array>
#include <utility>

#include "common/parse_json.h"
#include <nlohmann/json.hpp>

#include "clara/common/text.h"

namespace clara {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxMessageBytes = 300;
constexpr std::uint64_t kSeedRange = std::uint64_t{1} << 31;

// Words by which servers refuse a response_format.
constexpr std::array<std::string_view, 5> kFormatWords = {"response_format", "json_schema",
                                                          "json_object", "grammar", "guided"};

// A line for a message: without control characters, cut between characters.
std::string one_line(std::string_view text) {
  const std::string valid = drop_invalid_utf8(text);
  std::string line;
  for (std::size_t position = 0; position < valid.size() && line.size() < kMaxMessageBytes;) {
    const CodePoint point = decode_utf8(valid, position);
    const bool is_blank = is_unicode_space(point.value) || point.value < 0x20;
    if (!is_blank) line += std::string_view(valid).substr(position, point.num_bytes);
    if (is_blank && !line.empty() && line.back() != ' ') line += ' ';
    position += point.num_bytes;
  }
  return line;
}

// What a server says about an error, in the spellings that are in use: {"error": {"message",
// "code", "param"}}, {"error": text}, {"message": text}, {"detail": text or list}.
struct ServerMessage {
  std::string text;
  std::string code;
  std::string parameter;
};

std::string text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  if (found == object.end() || found->is_null()) return "";
  return found->is_string() ? found->get<std::string>()
                            : found->dump(-1, ' ', false, Json::error_handler_t::replace);
}

ServerMessage server_message(const std::string& body) {
  const Json json = parse_json<Json>(body);
  if (json.is_discarded() || !json.is_object()) return {body, "", ""};
  ServerMessage message;
  const auto error = json.find("error");
  const Json& place = error != json.end() && error->is_object() ? *error : json;
  for (const char* name : {"message", "error", "detail"}) {
    if (message.text.empty()) message.text = text_member(place, name);
  }
  message.code = text_member(place, "code");
  if (message.code.empty()) message.code = text_member(place, "type");
  message.parameter = text_member(place, "param");
  if (message.text.empty()) message.text = body;
  return message;
}

bool mentions(const std::string& text, std::string_view part) {
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return std::search(text.begin(), text.end(), part.begin(), part.end(),
                     [&](char a, char b) { return lower(a) == lower(b); }) != text.end();
}

Json response_format(const ChatRequest& request, ResponseFormat format) {
  switch (format) {
    case ResponseFormat::kJsonSchema:
      return {{"type", "json_schema"},
              {"json_schema",
               {{"name", request.schema_name},
                {"strict", true},
                {"schema", Json::parse(request.schema)}}}};
    case ResponseFormat::kJsonObjectSchema:
      return {{"type", "json_object"}, {"schema", Json::parse(request.schema)}};
    default:
      return {{"type", "json_object"}};
  }
}

ResponseFormat next_format(ResponseFormat format) {
  switch (format) {
    case ResponseFormat::kJsonSchema:
      return ResponseFormat::kJsonObjectSchema;
    case ResponseFormat::kJsonObjectSchema:
      return ResponseFormat::kJsonObject;
    default:
      return ResponseFormat::kText;
  }
}

// The dialect that a refusal asks for; the same one where it asks for none.
ChatDialect adapted(const ChatDialect& sent, const ServerMessage& message, bool allows_adapting) {
  ChatDialect dialect = sent;
  const bool names_format =
      message.parameter.starts_with("response_format") ||
      std::any_of(kFormatWords.begin(), kFormatWords.end(),
                  [&](std::string_view word) { return mentions(message.text, word); });
  if (sent.format != ResponseFormat::kText && allows_adapting && names_format) {
    dialect.format = next_format(sent.format);
  } else if (mentions(message.text, "max_completion_tokens")) {
    dialect.says_max_completion_tokens = true;
  } else if (message.parameter == "temperature") {
    dialect.sends_temperature = false;
  } else if (message.parameter == "seed") {
    dialect.sends_seed = false;
  }
  return dialect;
}

ChatOutcome outcome(ChatOutcome::Kind kind, std::string reason, std::string message) {
  ChatOutcome result;
  result.kind = kind;
  result.reason = std::move(reason);
  result.message = one_line(message);
  return result;
}

ChatOutcome read_failure(const HttpResponse& response) {
  using Failure = HttpResponse::Failure;
  using Kind = ChatOutcome::Kind;
  const std::string& text = response.failure_text;
  switch (response.failure) {
    case Failure::kUnreached:
      return outcome(Kind::kRetry, "no connection", text);
    case Failure::kTimeout:
      return outcome(Kind::kRetry, "timeout", text);
    case Failure::kTooLarge:
      return outcome(Kind::kRetry, "response too large", "the response is too large");
    case Failure::kUnusable:
      return outcome(Kind::kFatal, "unusable", text);
    default:
      return outcome(Kind::kRetry, "connection broken", text);
  }
}

bool is_spent_quota(const ServerMessage& message) {
  return message.code == "insufficient_quota" || message.code == "billing_hard_limit_reached";
}

bool is_unknown_model(const ServerMessage& message) {
  return message.code == "model_not_found" || message.code == "invalid_model" ||
         (message.parameter == "model" && mentions(message.text, "model"));
}

ChatOutcome read_error_status(const HttpResponse& response, const ChatDialect& sent,
                              bool allows_adapting) {
  using Kind = ChatOutcome::Kind;
  const long status = response.status;
  const ServerMessage message = server_message(response.body);
  const std::string reason = "HTTP " + std::to_string(status);
  const std::string told = reason + ": " + message.text;
  if (status >= 300 && status < 400) {
    return outcome(Kind::kFatal, reason,
                   reason + ": the server points to " + response.redirect +
                       ", which is not followed; give that place as base URL");
  }
  const bool is_fatal = status == 401 || status == 402 || status == 403 || status == 404 ||
                        status == 405 || (status == 429 && is_spent_quota(message)) ||
                        (status < 500 && is_unknown_model(message));
  if (is_fatal) return outcome(Kind::kFatal, reason, told);
  if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500)
    return outcome(Kind::kRetry, reason, told);
  if (status < 400) return outcome(Kind::kRetry, reason, told);
  if (status == 400 || status == 422) {
    ChatDialect dialect = adapted(sent, message, allows_adapting);
    if (dialect != sent) {
      ChatOutcome result = outcome(Kind::kAdapt, reason, told);
      result.dialect = dialect;
      return result;
    }
  }
  return outcome(Kind::kRefused, reason, told);
}

std::int64_t token_count(const Json& usage, const char* name) {
  const auto found = usage.find(name);
  if (found == usage.end() || !found->is_number_integer()) return 0;
  return std::max<std::int64_t>(found->get<std::int64_t>(), 0);
}

// A message's content: a string, or a list of parts of which the texts count.
std::optional<std::string> content_of(const Json& message) {
  const auto content = message.find("content");
  if (content == message.end()) return std::nullopt;
  if (content->is_string()) return content->get<std::string>();
  if (content->is_null()) return "";
  if (!content->is_array()) return std::nullopt;
  std::string text;
  for (const Json& part : *content) {
    if (part.is_object()) text += text_member(part, "text");
  }
  return text;
}

ChatOutcome read_completion(const HttpResponse& response) {
  using Kind = ChatOutcome::Kind;
  if (find_invalid_utf8(response.body))
    return outcome(Kind::kRetry, "no UTF-8", "the response is no UTF-8");
  const Json json = parse_json<Json>(response.body);
  if (json.is_discarded() || !json.is_object()) {
    return outcome(
        Kind::kRetry, "no JSON",
        "expected a JSON object, found " +
            (response.content_type.empty() ? "content of no type" : response.content_type) + ": " +
            response.body.substr(0, kMaxMessageBytes));
  }
  const auto choices = json.find("choices");
  if (choices == json.end() || !choices->is_array() || choices->empty() ||
      !choices->front().is_object()) {
    return outcome(Kind::kRetry, "no choices", "the response has no choices");
  }
  const Json& choice = choices->front();
  const auto message = choice.find("message");
  std::optional<std::string> text;
  if (message != choice.end() && message->is_object()) text = content_of(*message);
  if (!text) return outcome(Kind::kRetry, "no message", "the response's choice has no message");
  ChatOutcome result;
  result.kind = Kind::kAnswered;
  result.answer.text = std::move(*text);
  result.answer.finish_reason = text_member(choice, "finish_reason");
  const auto usage = json.find("usage");
  if (usage != json.end() && usage->is_object()) {
    result.answer.usage = {token_count(*usage, "prompt_tokens"),
                           token_count(*usage, "completion_tokens")};
  }
  return result;
}

}  // namespace

std::string chat_request_body(const ChatRequest& request, const std::string& model,
                              const ChatDialect& dialect) {
  Json messages = Json::array();
  if (!request.system.empty())
    messages.push_back({{"role", "system"}, {"content", request.system}});
  messages.push_back({{"role", "user"}, {"content", request.user}});
  Json body = {{"model", model}, {"messages", std::move(messages)}, {"stream", false}};
  body[dialect.says_max_completion_tokens ? "max_completion_tokens" : "max_tokens"] =
      request.max_tokens;
  if (dialect.sends_temperature) body["temperature"] = request.temperature;
  if (dialect.sends_seed) body["seed"] = request.seed % kSeedRange;
  if (dialect.format != ResponseFormat::kText)
    body["response_format"] = response_format(request, dialect.format);
  return body.dump();
}

ChatOutcome read_chat_response(const HttpResponse& response, const ChatDialect& sent,
                               bool allows_adapting) {
  if (response.failure != HttpResponse::Failure::kNone) return read_failure(response);
  constexpr long kOk = 200;
  if (response.status != kOk) return read_error_status(response, sent, allows_adapting);
  return read_completion(response);
}

}  // namespace clara
