// Laws of reading the documents that a question is asked over.
#include "clara/eval/document_file.h"

#include <fstream>

#include "tests/unit/common/temporary_folder.h"
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "clara/common/error.h"

namespace clara {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> read_text(const std::string& name, const std::string& text) {
  const TemporaryFolder folder;
  std::ofstream(folder / name, std::ios::binary) << text;
  return read_document_file(folder / name);
}

std::string fault_of(const std::string& name, const std::string& text) {
  try {
    read_text(name, text);
  } catch (const DataError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(DocumentFile, WithoutBlankLinesEachLineIsADocument) {
  EXPECT_THAT(read_text("d.txt", "one\r\n two \nthree"), ElementsAre("one", "two", "three"));
}

TEST(DocumentFile, BlankLinesSeparateDocumentsOfSeveralLines) {
  EXPECT_THAT(read_text("d.md", "\n\nTitle\nline\n \t\n\nother\n\n"),
              ElementsAre("Title\nline", "other"));
}

TEST(DocumentFile, RowsMayBeStringsOrObjectsOfEveryKnownSpelling) {
  EXPECT_THAT(read_text("d.jsonl",
                        "\"a\"\n{\"docs\": [\"b\", \"c\"], \"question\": \"q\"}\n"
                        "{\"context\": [\"d\"]}\n{\"content\": \"e\"}\n{\"text\": \"f\"}\n"),
              ElementsAre("a", "b", "c", "d", "e", "f"));
  EXPECT_THAT(read_text("d.json", "[\"a\", {\"text\": \"b\"}]"), ElementsAre("a", "b"));
}

TEST(DocumentFile, EqualDocumentsAreOne) {
  EXPECT_THAT(read_text("d.txt", "one\ntwo\none\n"), ElementsAre("one", "two"));
}

TEST(DocumentFile, FaultsNameTheFileAndTheLine) {
  EXPECT_THAT(fault_of("d.jsonl", "\"a\"\n{\"title\": \"b\"}\n"),
              HasSubstr("d.jsonl:2: expected a string or an object with docs, context, content or "
                        "text, found an object without any of them"));
  EXPECT_THAT(fault_of("d.jsonl", "{\"docs\": [1]}\n"), HasSubstr("d.jsonl:1: docs: expected"));
  EXPECT_THAT(fault_of("d.txt", "a\n\xFF"), HasSubstr("d.txt: byte 3: expected UTF-8"));
  EXPECT_THAT(fault_of("d.txt", " \n"), HasSubstr("d.txt: expected documents, found none"));
  EXPECT_THROW(read_document_file("no/such/file.txt"), DataError);
}

}  // namespace
}  // namespace clara
