// Foreign JSON neither overflows a stack nor a number.
#include "common/parse_json.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

namespace clara {
namespace {

std::string nested(int depth) {
  return std::string(static_cast<std::size_t>(depth), '[') +
         std::string(static_cast<std::size_t>(depth), ']');
}

TEST(ParseJson, NestingIsLimited) {
  EXPECT_TRUE(parse_json<nlohmann::json>(nested(kMaxJsonDepth)).is_array());
  EXPECT_TRUE(parse_json<nlohmann::json>(nested(kMaxJsonDepth + 1)).is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::ordered_json>(nested(1 << 20)).is_discarded());
  EXPECT_EQ(parse_json<nlohmann::json>(nested(kMaxJsonDepth)).dump(), nested(kMaxJsonDepth))
      << "the stack bears it";
}

TEST(ParseJson, BracketsOfStringsAndOfNeighboursDoNotCount) {
  EXPECT_TRUE(is_nested_deeper_than(2, R"([{"a":[]}])"));
  EXPECT_FALSE(is_nested_deeper_than(3, R"([{"a":[]}])"));
  EXPECT_FALSE(is_nested_deeper_than(1, R"(["[[[", "\"[[", "\\"])"));
  EXPECT_TRUE(is_nested_deeper_than(1, R"(["\\", [ ]])"));
  std::string list = "[0";
  for (int i = 0; i < 5000; ++i) list += ",[]";
  EXPECT_TRUE(parse_json<nlohmann::json>(list + "]").is_array());
}

TEST(ParseJson, WhatIsNoJsonIsDiscarded) {
  EXPECT_TRUE(parse_json<nlohmann::json>("").is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::json>("{\"a\": ").is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::json>("]]]]").is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::json>("[1e999]").is_discarded());
  EXPECT_TRUE(parse_json<nlohmann::json>(std::string("{}\0{}", 5)).is_discarded())
      << "what follows is not dropped";
  EXPECT_TRUE(parse_json<nlohmann::json>(std::string("{}\0", 3)).is_discarded());
}

TEST(WholeNumber, IsOneThatTheTypeHolds) {
  const auto whole = [](const char* json) {
    return whole_number<std::int32_t>(parse_json<nlohmann::json>(json));
  };
  EXPECT_EQ(whole("7"), 7);
  EXPECT_EQ(whole("-2147483648"), std::numeric_limits<std::int32_t>::min());
  EXPECT_EQ(whole("2147483647"), std::numeric_limits<std::int32_t>::max());
  for (const char* json : {"2147483648", "-2147483649", "4294967296", "18446744073709551615", "1.0",
                           "1e3", "\"7\"", "null", "true", "[7]"})
    EXPECT_FALSE(whole(json).has_value()) << json;
  EXPECT_FALSE(
      whole_number<std::int64_t>(parse_json<nlohmann::json>("9223372036854775808")).has_value());
  EXPECT_EQ(whole_number<std::uint64_t>(parse_json<nlohmann::json>("18446744073709551615")),
            std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace clara
