// Requests as they are put, responses as they are classified.
#include "synthesis/chat_protocol.h"

#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

using Json = nlohmann::json;
using Kind = ChatOutcome::Kind;

ChatRequest request() {
  ChatRequest asked;
  asked.system = "Be brief.";
  asked.user = "Hello";
  asked.schema_name = "greeting";
  asked.schema = R"({"type":"object"})";
  asked.temperature = 0.5;
  asked.seed = (std::uint64_t{1} << 40) + 3;
  asked.max_tokens = 7;
  return asked;
}

HttpResponse response(long status, const std::string& body) {
  HttpResponse received;
  received.status = status;
  received.content_type = "application/json";
  received.body = body;
  return received;
}

ChatOutcome read(long status, const std::string& body, const ChatDialect& sent = {}) {
  return read_chat_response(response(status, body), sent, true);
}

TEST(ChatProtocol, TheRequestIsWhatOpenAiCompatibleServersTake) {
  const Json body = Json::parse(chat_request_body(request(), "m", {}));
  EXPECT_EQ(body.at("model"), "m");
  EXPECT_EQ(body.at("messages").at(0), (Json{{"role", "system"}, {"content", "Be brief."}}));
  EXPECT_EQ(body.at("messages").at(1), (Json{{"role", "user"}, {"content", "Hello"}}));
  EXPECT_EQ(body.at("seed"), 3);
  EXPECT_EQ(body.at("max_tokens"), 7);
  EXPECT_EQ(body.at("temperature"), 0.5);
  EXPECT_EQ(body.at("response_format").at("json_schema").at("schema"), (Json{{"type", "object"}}));
  ChatRequest plain = request();
  plain.system.clear();
  const ChatDialect dialect = {ResponseFormat::kText, true, false, false};
  const Json bare = Json::parse(chat_request_body(plain, "m", dialect));
  EXPECT_EQ(bare, (Json{{"model", "m"},
                        {"messages", {{{"role", "user"}, {"content", "Hello"}}}},
                        {"stream", false},
                        {"max_completion_tokens", 7}}));
}

TEST(ChatProtocol, AnAnswerWithItsUsage) {
  const ChatOutcome outcome = read(
      200,
      R"({"choices":[{"message":{"content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}})");
  ASSERT_EQ(outcome.kind, Kind::kAnswered);
  EXPECT_EQ(outcome.answer.text, "Hi");
  EXPECT_EQ(outcome.answer.finish_reason, "stop");
  EXPECT_EQ(outcome.answer.usage.prompt_tokens, 3);
  EXPECT_EQ(outcome.answer.usage.completion_tokens, 4);
  const ChatOutcome parts = read(
      200,
      R"({"choices":[{"message":{"content":[{"type":"text","text":"H"},{"type":"text","text":"i"}]},"finish_reason":null}],"usage":{"prompt_tokens":-1}})");
  EXPECT_EQ(parts.answer.text, "Hi");
  EXPECT_EQ(parts.answer.usage.prompt_tokens, 0);
  EXPECT_EQ(read(200, R"({"choices":[{"message":{"content":null}}]})").answer.text, "");
}

TEST(ChatProtocol, StatusesByWhatCanBeDoneAboutThem) {
  for (const long status : {401L, 402L, 403L, 404L, 405L, 301L, 307L})
    EXPECT_EQ(read(status, "{}").kind, Kind::kFatal) << status;
  for (const long status : {408L, 409L, 425L, 429L, 500L, 502L, 503L, 529L})
    EXPECT_EQ(read(status, "{}").kind, Kind::kRetry) << status;
  for (const long status : {400L, 413L, 422L})
    EXPECT_EQ(read(status, R"({"error":{"message":"too long"}})").kind, Kind::kRefused) << status;
  EXPECT_EQ(read(429, R"({"error":{"code":"insufficient_quota"}})").kind, Kind::kFatal);
  EXPECT_EQ(read(400, R"({"error":{"code":"model_not_found"}})").kind, Kind::kFatal);
}

TEST(ChatProtocol, ARefusedFormatIsFollowedByTheNext) {
  ChatDialect sent;
  const std::string body = R"({"detail":[{"loc":["body","response_format","type"]}]})";
  for (const ResponseFormat next :
       {ResponseFormat::kJsonObjectSchema, ResponseFormat::kJsonObject, ResponseFormat::kText}) {
    const ChatOutcome outcome = read(422, body, sent);
    ASSERT_EQ(outcome.kind, Kind::kAdapt);
    EXPECT_EQ(outcome.dialect.format, next);
    sent = outcome.dialect;
  }
  EXPECT_EQ(read(422, body, sent).kind, Kind::kRefused);
  EXPECT_EQ(read_chat_response(response(400, body), {}, false).kind, Kind::kRefused);
}

TEST(ChatProtocol, BodiesThatAreNoAnswer) {
  EXPECT_EQ(read(200, "<html>").reason, "no JSON");
  EXPECT_EQ(read(200, "{\"choices\":[{\"message\":{\"content\":\"\xE9\"}}]}").reason, "no UTF-8");
  EXPECT_EQ(read(200, R"({"choices":[]})").reason, "no choices");
  EXPECT_EQ(read(200, R"({"choices":[{"message":{"content":3}}]})").reason, "no message");
  EXPECT_EQ(read(204, "").kind, Kind::kRetry);
}

TEST(ChatProtocol, MessagesAreOneLineOfWholeCharacters) {
  std::string long_text = "a\n\tb ";
  for (int i = 0; i < 400; ++i) long_text += "é";
  const ChatOutcome outcome = read(400, Json{{"error", {{"message", long_text}}}}.dump());
  EXPECT_EQ(outcome.message.find('\n'), std::string::npos);
  EXPECT_TRUE(outcome.message.starts_with("HTTP 400: a b é"));
  EXPECT_LT(outcome.message.size(), 310U);
  EXPECT_EQ(static_cast<unsigned char>(outcome.message.back()), 0xA9U);
}

}  // namespace
}  // namespace clara
