// Laws of the text of passages.
#include "clara/data/document_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

const std::vector<std::string> kSentences = {"First one.", "  Second. ", "", " \t\u00a0", "Third."};

TEST(DocumentFormat, TitleNewlineJoinsStrippedSentencesByOneBlank) {
  EXPECT_EQ(format_passage("Ann", kSentences, DocumentFormat::kTitleNewline),
            "Ann\nFirst one. Second. Third.");
}

TEST(DocumentFormat, MlClaraSpellsAsTheOfficialData) {
  EXPECT_EQ(format_passage("Ann", kSentences, DocumentFormat::kMlClara),
            "This a document about Ann. \n First one. Second. Third.");
}

TEST(DocumentFormat, NamesGoThereAndBack) {
  for (const char* name : {"title_newline", "ml_clara"}) {
    EXPECT_EQ(to_string(parse_document_format(name)), name);
  }
}

TEST(DocumentFormat, UnknownNamesAreRefusedWithTheKnownOnes) {
  try {
    parse_document_format("markdown");
    FAIL() << "expected a ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_STREQ(error.what(),
                 "data.document_format: expected title_newline or ml_clara, found \"markdown\"");
  }
}

}  // namespace
}  // namespace clara
