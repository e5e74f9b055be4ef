// Document frequencies of tokens.
#include "clara/objectives/token_idf.h"

#include <cmath>

#include "tests/support/tiny_model.h"
#include <gtest/gtest.h>

namespace clara::testing {
namespace {

TEST(TokenIdf, CountsTheDocumentsThatHoldAToken) {
  TokenIdf idf(kTinyVocabRows, kTinyBos, kTinyEos);
  idf.add(compressor_input({20, 21, 21}));
  idf.add(compressor_input({21, 22}));
  idf.add(compressor_input({21}));
  idf.add(compressor_input({}));
  EXPECT_EQ(idf.num_documents(), 4);
  const std::vector<float> weights = idf.weights();
  EXPECT_FLOAT_EQ(weights[20], std::log1p(3.5F / 1.5F));
  EXPECT_FLOAT_EQ(weights[21], std::log1p(1.5F / 3.5F));
  EXPECT_FLOAT_EQ(weights[22], weights[20]);
  // What no document's text holds, BOS and EOS among it.
  for (const TokenId absent : {23, kTinyBos, kTinyEos})
    EXPECT_FLOAT_EQ(weights[static_cast<std::size_t>(absent)], std::log1p(4.5F / 0.5F));
}

}  // namespace
}  // namespace clara::testing
