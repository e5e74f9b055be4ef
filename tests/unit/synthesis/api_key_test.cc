// The key is sent and shown nowhere.
#include "clara/synthesis/api_key.h"

#include <cstdlib>
#include <fstream>
#include <string>

#include "tests/unit/common/temporary_folder.h"
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

TEST(ApiKey, IsHiddenWhereverItStands) {
  const ApiKey key("sk-0123456789");
  EXPECT_EQ(key.authorization(), "Bearer sk-0123456789");
  EXPECT_EQ(key.hide("a sk-0123456789, sk-0123456789"), "a [key], [key]");
  EXPECT_EQ(key.hide("nothing"), "nothing");
}

TEST(ApiKey, AShortOneIsNoSecretAndNoneIsNone) {
  EXPECT_EQ(ApiKey("EMPTY").hide("EMPTY"), "EMPTY");
  EXPECT_EQ(ApiKey().authorization(), "");
}

TEST(ApiKey, WhatCannotBeSentIsRefusedWithoutBeingShown) {
  for (const char* secret : {"two words", "line\nbreak", "caf\xC3\xA9-secret"}) {
    try {
      const ApiKey key(secret);
      FAIL() << secret;
    } catch (const ConfigError& error) {
      EXPECT_EQ(std::string(error.what()).find(secret), std::string::npos);
    }
  }
}

TEST(ApiKey, ComesFromAVariableOrAFile) {
  ::setenv("CLARA_TEST_KEY", " sk-in-variable \n", 1);
  EXPECT_EQ(api_key_from_environment("CLARA_TEST_KEY").authorization(), "Bearer sk-in-variable");
  ::unsetenv("CLARA_TEST_KEY");
  EXPECT_TRUE(api_key_from_environment("CLARA_TEST_KEY").empty());
  const TemporaryFolder folder;
  std::ofstream(folder / "key") << "sk-in-file\nanother line\n";
  EXPECT_EQ(api_key_from_file(folder / "key").authorization(), "Bearer sk-in-file");
  std::ofstream(folder / "blank") << " \n";
  EXPECT_THROW(api_key_from_file(folder / "blank"), ConfigError);
  EXPECT_THROW(api_key_from_file(folder / "absent"), DataError);
}

}  // namespace
}  // namespace clara
