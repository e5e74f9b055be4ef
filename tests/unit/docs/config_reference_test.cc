// docs/config.md is what describe_run_config() says. CLARA_REWRITE_DOCS=1 writes it anew.
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

#include "clara/config/load_config.h"

namespace clara {
namespace {

TEST(ConfigReference, PageAgreesWithTheFieldTable) {
  const std::string path = std::string(CLARA_SOURCE_DIR) + "/docs/config.md";
  const std::string expected = describe_run_config();
  if (const char* rewrite = std::getenv("CLARA_REWRITE_DOCS");
      rewrite != nullptr && std::string(rewrite) == "1") {
    std::ofstream(path, std::ios::binary) << expected;
  }
  std::ifstream in(path, std::ios::binary);
  ASSERT_TRUE(in) << path << " is missing; write it with CLARA_REWRITE_DOCS=1 clara_docs_test";
  std::ostringstream found;
  found << in.rdbuf();
  EXPECT_EQ(found.str(), expected)
      << path << " is out of date; write it anew with CLARA_REWRITE_DOCS=1 clara_docs_test";
}

}  // namespace
}  // namespace clara
